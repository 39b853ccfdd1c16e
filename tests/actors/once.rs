//! A restarted actor adopts what runs: no agent is started twice.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::node::{Running, Site, ensure, in_parallel};

/// Where an actor may fail while an agent runs, has run, or is about to be forgotten.
const FAULTS: [&str; 7] = [
    "agent-host-order:panic:2",
    "attempt-before-start:panic:1",
    "attempt-after-start:panic:1",
    "attempt-before-report:panic:1",
    "attempt-before-forget:panic:1",
    "taskmaster-report:panic:1",
    // And with the whole process.
    "attempt-after-start:kill:1",
];
const TASKS: usize = 4;

#[test]
fn an_agent_runs_once_whichever_actor_fails() {
    in_parallel(3, &FAULTS, |fault| {
        let site = Site::new().lay_down();
        let starts = site.dir().join("starts");
        fs::write(&starts, "").unwrap();
        fs::set_permissions(&starts, fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(site.dir().join("devstack.toml"), plan(starts.to_str().unwrap())).unwrap();
        let first = run(&site, Some(fault)).finish();
        let hit = first.was_killed() || first.stderr.contains("injected fault");
        ensure(hit, || format!("{fault} was never hit: {first:?}"))?;
        if first.was_killed() {
            let second = run(&site, None).finish();
            ensure(second.status.success(), || format!("after {fault}: {second:?}"))?;
        } else {
            ensure(first.status.success(), || format!("with {fault}: {first:?}"))?;
        }
        let mut started: Vec<String> = fs::read_to_string(&starts).unwrap().lines().map(str::to_owned).collect();
        started.sort_unstable();
        let once: Vec<String> = (1..=TASKS).map(|task| format!("A-{task} 1")).collect();
        ensure(started == once, || format!("with {fault} agents started: {started:?}\n{}", first.stderr))?;
        ensure(site.processes().is_empty(), || format!("{fault} left {:?}", site.processes()))
    });
}

fn run(site: &Site, fault: Option<&str>) -> Running {
    let plan = ["run", "devstack.toml", "--runtime", "process", "--sandbox", "off", "--slots", "2"];
    Running::start(site.devstack(&plan), fault)
}

/// Agents that write down every start, and take a moment.
fn plan(starts: &str) -> String {
    let mut plan = format!(
        "[project]\nname = \"once\"\n[agents.dev]\ncommand = [\"sh\", \"-c\", \
         \"echo $DEVSTACK_TASK_ID $DEVSTACK_ATTEMPT >> {starts}; sleep 1\"]\n[defaults]\nrole = \"dev\"\n"
    );
    for task in 1..=TASKS {
        plan.push_str(&format!("[[task]]\nid = \"A-{task}\"\ntitle = \"t\"\nprompt = \"p\"\n"));
    }
    plan
}
