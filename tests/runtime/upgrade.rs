//! The upgrade rule for what lies on a host: what the version before wrote is read, and what it started is adopted. The
//! files of an attempt as each version wrote them are in `golden`: `v1` first, `v1.1` and on with what was appended
//! since.
//!
//! Whoever changes an order or a record adds a golden file of the new shape and gives what is new a default; the old
//! files stay. Deliberately absent: the store (tests/store) and messages (tests/wire), which have golden files of their
//! own.

use std::{fs, os::unix::fs::symlink, path::Path};

use devstack::runtime::{Runtime, Sandbox, State};
use devstack_dag::attempt::Outcome;
use devstack_shim::{
    confinement::{Demand, Measured},
    layout,
    spec::{Branch, Ending, ExitRecord, Git, GitStart, Harvested, Rlimits, Secrets, Skipped, Spec, User, VERSION},
    tool::{SecretFile, Tool},
};
use serde_json::Value;

use crate::{adopt, harness::*};

fn golden(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runtime/golden").join(name)).unwrap()
}

/// An order as the first version wrote it.
pub(crate) fn spec() -> Spec {
    let start = GitStart::Commit { base: "01".repeat(20), tip: "02".repeat(20) };
    Spec {
        version: VERSION,
        key: "label/shop/T-001/1".into(),
        label: "shop/T-001 attempt 1".into(),
        dir: "@DIR@".into(),
        workspace: "@DIR@/workspace".into(),
        boot_id: "@BOOT@".into(),
        ordered_at_ms: 1000,
        wrapper: Vec::new(),
        command: ["sh", "-c", "exit 7"].map(str::to_owned).into(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        secrets: Some(Secrets::Stdin),
        user: Some(User { uid: 10001, gid: 10001 }),
        limits: Rlimits { data: Some(1024), processes: Some(64), open_files: None, file_size: None },
        cgroups: vec!["/sys/fs/cgroup/x".into()],
        timeout_ms: 600_000,
        grace_ms: 10_000,
        idle_timeout_ms: 900_000,
        log_max: 64 << 20,
        disk_max: None,
        git: Some(Git {
            mirror_objects: "/m/objects".into(),
            bundles: vec!["0.bundle".into()],
            branch: "feat/dev1".into(),
            integration: "dev".into(),
            start,
            name: "dev1".into(),
            email: "dev1@devstack.invalid".into(),
            harvest: true,
            bundle_max: 1 << 30,
        }),
        tool: None,
        tee: false,
        wrapper_files: Vec::new(),
        demand: None,
    }
}

fn exit() -> ExitRecord {
    ExitRecord {
        version: VERSION,
        ending: Some(Ending::Exited(7)),
        elapsed_ms: 1234,
        output_bytes: 11,
        left_out_bytes: 0,
        harvest: Harvested::default(),
        processes_refused: 0,
        started: true,
        measured: None,
    }
}

#[test]
fn orders_and_records_of_earlier_versions_are_read_and_those_of_this_are_frozen() {
    assert_eq!(serde_json::from_str::<Spec>(&golden("spec.v1.json")).unwrap(), spec());
    assert_eq!(serde_json::from_str::<ExitRecord>(&golden("exit.v1.json")).unwrap(), exit());
    let secret_files = vec![SecretFile { secret: "KEY".into(), path: ".key".into() }];
    let tool = Tool { prompt_on_stdin: true, secret_files, secret_dir: Some("/dev/shm/x".into()), last: None };
    let before = Spec { tool: Some(tool), ..spec() };
    assert_eq!(serde_json::from_str::<Spec>(&golden("spec.v1.1.json")).unwrap(), before);
    let before = (Spec { tee: true, ..before }, ExitRecord { processes_refused: 2, ..exit() });
    assert_eq!(serde_json::from_str::<Spec>(&golden("spec.v1.2.json")).unwrap(), before.0);
    assert_eq!(serde_json::from_str::<ExitRecord>(&golden("exit.v1.1.json")).unwrap(), before.1);
    let demand = Some(Demand { filter: true, bounding: Some(192) });
    let measured =
        Measured { users: [10001; 4], no_new_privileges: true, seccomp: 2, bounding: 192, ..Measured::default() };
    let now = (
        Spec { wrapper_files: vec!["/s/bin/filter".into()], demand, ..before.0 },
        ExitRecord { measured: Some(measured), ..before.1 },
    );
    let frozen = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!(serde_json::to_value(&now.0).unwrap(), frozen(golden("spec.v1.3.json")));
    let harvest = Harvested {
        tip: Some("02".repeat(20)),
        error: None,
        skipped: vec![Skipped { path: "dep".into(), why: "a git repository of its own".into() }],
        more: 1,
        branches: vec![Branch { name: "fix/x".into(), commit: "03".repeat(20) }],
        failed: Some("No space left on device".into()),
    };
    let before = ExitRecord { harvest, started: false, measured: None, ..now.1 };
    assert_eq!(serde_json::from_str::<ExitRecord>(&golden("exit.v1.2.json")).unwrap(), before);
    let now = ExitRecord { measured: Some(measured), ..before };
    assert_eq!(serde_json::to_value(&now).unwrap(), frozen(golden("exit.v1.3.json")));
}

/// The directory of an attempt that an earlier version ran to its end, while no node was there.
#[tokio::test]
async fn what_ended_under_an_earlier_version_is_told() {
    let s = Scratch::new(Sandbox::Off);
    let dir = s.attempt_dir(&attempt(1));
    for part in [layout::IN, layout::OUT, layout::SHIM, layout::WORKSPACE] {
        fs::create_dir_all(dir.join(part)).unwrap();
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let spec = golden("spec.v1.json").replace("@DIR@", dir.to_str().unwrap()).replace("@BOOT@", boot.trim());
    for (name, text) in
        [(layout::SPEC, spec.as_str()), (layout::EXIT, &golden("exit.v1.json")), (layout::LOG, "done by it\n")]
    {
        fs::write(dir.join(name), text).unwrap();
    }
    // A number that no process has.
    symlink(format!("{} 1 {}", i32::MAX, boot.trim()), dir.join(layout::PID)).unwrap();
    let next = runtime(s.dir.path(), Sandbox::Off, |_| {});
    assert_eq!(next.list().await.unwrap()[0].state, State::Ended);
    let ended = wait(&next, &attempt(1)).await;
    assert_eq!((ended.outcome, ended.elapsed_ms), (Outcome::Exited(7), Some(1234)));
    assert_eq!(log(&next, &attempt(1)).await, "done by it\n");
    next.remove(&attempt(1)).await.unwrap();
    assert!(!dir.exists());
}

/// A node of an earlier version started it, with an order that lacks what was appended since; it runs on.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_under_an_earlier_version_is_adopted() {
    let s = Scratch::new(Sandbox::Off);
    let dir = s.attempt_dir(&attempt(1));
    let node = adopt::node(&s, Sandbox::Off, "while ! test -e go; do sleep 0.02; done; exit 42");
    until("the shim claims it", || dir.join(layout::PID).is_symlink()).await;
    adopt::kill(node);
    let mut order: Value = serde_json::from_slice(&fs::read(dir.join(layout::SPEC)).unwrap()).unwrap();
    let first: Value = serde_json::from_str(&golden("spec.v1.json")).unwrap();
    order.as_object_mut().unwrap().retain(|key, _| first.get(key).is_some());
    fs::write(dir.join(layout::SPEC), order.to_string()).unwrap();
    let next = runtime(s.dir.path(), Sandbox::Off, |_| {});
    assert_eq!(next.list().await.unwrap()[0].state, State::Running);
    fs::write(dir.join("workspace/go"), "").unwrap();
    assert_eq!(wait(&next, &attempt(1)).await.outcome, Outcome::Exited(42));
}
