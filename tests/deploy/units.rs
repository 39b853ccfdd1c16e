//! The units, as systemd itself reads and judges them, without a running one.

use std::{fs, path::Path, process::Command};

use crate::shipped;

/// The exposure that a unit may have at most, in tenths, as `docs/operations.md` has it: 0 is a sealed box, 96 a plain
/// root service.
const EXPOSURE: [(&str, u32); 3] =
    [("devstack-agent-host.service", 30), ("devstack-node.service", 60), ("devstack-taskmaster.service", 15)];

/// `None`, loudly: it is not installed.
fn analyze(args: &[&str], unit: &Path) -> Option<(bool, String)> {
    match Command::new("systemd-analyze").args(args).arg(unit).env("SYSTEMD_COLORS", "0").output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            eprintln!("SKIPPED: systemd's checks of the units do not run here: systemd-analyze: {error}");
            None
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for path in shipped("systemd", ".service") {
        // It looks for the program, which need not be installed.
        let text =
            fs::read_to_string(&path).unwrap().replace("/usr/bin/devstack-node", env!("CARGO_BIN_EXE_devstack-node"));
        let unit = dir.path().join(path.file_name().unwrap());
        fs::write(&unit, text).unwrap();
    }
    for (unit, _) in EXPOSURE {
        let Some((ok, said)) = analyze(&["verify", "--man=no"], &dir.path().join(unit)) else { return };
        // It also speaks of other units of the machine, that ours do not know.
        let ours: Vec<_> = said.lines().filter(|line| line.contains("devstack")).collect();
        assert!(ok && ours.is_empty(), "{unit}: {said}");
    }
}

#[test]
fn no_unit_is_more_exposed_than_it_says() {
    let names: Vec<_> =
        shipped("systemd", ".service").iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, EXPOSURE.map(|(unit, _)| unit));
    for (path, (unit, most)) in shipped("systemd", ".service").iter().zip(EXPOSURE) {
        let threshold = format!("--threshold={most}");
        let Some((ok, said)) = analyze(&["security", "--offline=yes", &threshold], path) else { return };
        assert!(ok, "{unit}: {}", said.lines().last().unwrap_or_default());
    }
}

/// What every unit must have so that a restart costs no work.
#[test]
fn units_restart_what_fails_and_leave_attempts_alone() {
    for path in shipped("systemd", ".service") {
        let text = fs::read_to_string(&path).unwrap();
        let has = |line: &str| text.lines().any(|one| one == line);
        assert!(has("LimitCORE=0"), "{}: a core dump holds secrets", path.display());
        for line in
            ["Type=notify", "NotifyAccess=main", "Restart=on-failure", "RestartPreventExitStatus=2", "WatchdogSec=60s"]
        {
            assert!(has(line), "{}: {line}", path.display());
        }
        let process = path.ends_with("devstack-node.service");
        assert_eq!(has("KillMode=process"), process, "{}", path.display());
        // One agent that is out of memory must not end the rest.
        assert_eq!(has("OOMPolicy=continue"), process, "{}", path.display());
    }
}
