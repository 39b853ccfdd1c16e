//! A secret is nowhere but in its agent's memory: also not in what a killed node leaves.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::node::{Running, Site, ensure, files, git};

const VALUE: &str = "fault-Zq83vK1pX7-never-to-be-written";
const PLAN: &str = r#"
[project]
name = "vault"
repo = "."
[agents.dev]
command = ["sh", "-c", "echo \"the token is $TOKEN\"; echo ok > $DEVSTACK_TASK_ID.txt; test -n \"$TOKEN\""]
secrets = ["TOKEN"]
[defaults]
role = "dev"
[[task]]
id = "S-1"
title = "Use the token"
prompt = "Use it."
[[task]]
id = "S-2"
title = "Use it again"
prompt = "Use it again."
dependencies = ["S-1"]
"#;

#[test]
fn a_killed_node_leaves_no_secret() {
    let site = Site::new().lay_down();
    git(site.dir(), &["init", "-q", "-b", "main"]);
    fs::write(site.dir().join(".gitignore"), ".env\n.devstack/\n").unwrap();
    fs::write(site.dir().join("devstack.toml"), PLAN).unwrap();
    git(site.dir(), &["add", "."]);
    git(site.dir(), &["commit", "-q", "-m", "A vault"]);
    let env = site.dir().join(".env");
    fs::write(&env, format!("TOKEN={VALUE}\n")).unwrap();
    fs::set_permissions(&env, fs::Permissions::from_mode(0o600)).unwrap();

    for fault in ["attempt-after-start:kill:1", "attempt-before-report:kill:1", "devops-after-pin:kill:1"] {
        let killed = run(&site, Some(fault));
        assert!(killed.was_killed(), "{fault} was never hit: {killed:?}");
        nowhere(&site, &killed.stderr).unwrap_or_else(|error| panic!("after {fault}: {error}"));
    }
    let finished = run(&site, None);
    assert!(finished.status.success(), "{finished:?}");
    nowhere(&site, &finished.stderr).unwrap();
    site.check("vault", &["S-1", "S-2"]).unwrap();
    // It was there to be leaked: the agent had it, and its log shows where.
    let log = site.devstack(&["task", "logs", "S-1"]).output().unwrap();
    let log = String::from_utf8(log.stdout).unwrap();
    assert!(log.contains("the token is ") && !log.contains(VALUE), "{log}");
}

fn run(site: &Site, fault: Option<&str>) -> crate::node::Finished {
    let mut command = site.devstack(&["-vv", "run", "devstack.toml", "--runtime", "process"]);
    command.env("DEVSTACK_LOG", "trace");
    Running::start(command, fault).finish()
}

fn nowhere(site: &Site, said: &str) -> Result<(), String> {
    ensure(!said.contains(VALUE), || "the node's log has it".into())?;
    for file in files(&site.state()) {
        let bytes = fs::read(&file).unwrap_or_default();
        let found = bytes.windows(VALUE.len()).any(|window| window == VALUE.as_bytes());
        ensure(!found, || format!("{} has it", file.display()))?;
    }
    Ok(())
}
