//! A node that is killed loses nothing: the next one adopts what runs.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use devstack::runtime::{Runtime, Sandbox, State};
use devstack_dag::attempt::Outcome;
use devstack_shim::layout;

use crate::{harness::*, process::marked};

const STATE: &str = "DEVSTACK_TEST_STATE";
const SCRIPT: &str = "DEVSTACK_TEST_SCRIPT";
const SANDBOX: &str = "DEVSTACK_TEST_SANDBOX";
/// Milliseconds.
const TIMEOUT: &str = "DEVSTACK_TEST_TIMEOUT";

/// The node that is killed: this test program once more. Not a test of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other tests as the node they kill"]
async fn the_node() {
    let state = std::env::var(STATE).unwrap();
    let sandbox = if std::env::var(SANDBOX).is_ok() { Sandbox::Auto } else { Sandbox::Off };
    let runtime = runtime(state.as_ref(), sandbox, |_| {});
    let mut job = shell(1, &std::env::var(SCRIPT).unwrap());
    job.timeout_ms = std::env::var(TIMEOUT).map_or(job.timeout_ms, |ms| ms.parse().unwrap());
    job.grace_ms = job.timeout_ms.min(job.grace_ms);
    runtime.start(&job).await.unwrap();
    println!("\nSTARTED");
    std::future::pending::<()>().await;
}

/// Runs a node on `s` that starts the script, and returns when it has.
pub(crate) fn node(s: &Scratch, sandbox: Sandbox, script: &str) -> Child {
    node_with(s, sandbox, script, None)
}

fn node_with(s: &Scratch, sandbox: Sandbox, script: &str, timeout_ms: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "adopt::the_node", "--nocapture"]);
    command.env(STATE, s.dir.path()).env(SCRIPT, script);
    if let Some(timeout_ms) = timeout_ms {
        command.env(TIMEOUT, timeout_ms.to_string());
    }
    if sandbox == Sandbox::Auto {
        command.env(SANDBOX, "1");
    }
    let mut node = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(node.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "STARTED"), "the node started nothing");
    node
}

pub(crate) fn kill(mut node: Child) {
    node.kill().unwrap();
    node.wait().unwrap();
}

fn subjects() -> Vec<(Sandbox, Scratch)> {
    let mut subjects = vec![(Sandbox::Off, Scratch::new(Sandbox::Off))];
    subjects.extend(sandboxed().map(|scratch| (Sandbox::Auto, scratch)));
    subjects
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_adopts_what_runs_and_gets_its_true_end_and_all_its_output() {
    for (sandbox, s) in subjects() {
        let go = s.attempt_dir(&attempt(1)).join("workspace/go");
        let script = "echo before; while ! test -e go; do sleep 0.02; done; echo after; exit 42";
        let node = node(&s, sandbox, script);
        until("the shim claims it", || s.attempt_dir(&attempt(1)).join(layout::PID).is_symlink()).await;
        kill(node);
        assert_eq!(s.runtime.list().await.unwrap()[0].state, State::Running);
        // Started again by a node that remembers the order: still the same run.
        s.runtime.start(&shell(1, "echo twice; exit 1")).await.unwrap();
        fs::write(&go, "").unwrap();
        assert_eq!(wait(&s.runtime, &attempt(1)).await.outcome, Outcome::Exited(42));
        assert_eq!(log(&s.runtime, &attempt(1)).await, "before\nafter\n");
        s.runtime.remove(&attempt(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_no_node_was_there_is_told_later() {
    for (sandbox, s) in subjects() {
        let node = node(&s, sandbox, "sleep 0.3; echo done; exit 7");
        until("the shim claims it", || s.attempt_dir(&attempt(1)).join(layout::PID).is_symlink()).await;
        kill(node);
        let exit = s.attempt_dir(&attempt(1)).join(layout::EXIT);
        until("it ends by itself", || fs::metadata(&exit).is_ok_and(|file| file.len() > 0)).await;
        assert_eq!(wait(&s.runtime, &attempt(1)).await.outcome, Outcome::Exited(7));
        assert_eq!(log(&s.runtime, &attempt(1)).await, "done\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_holds_while_no_node_is_there() {
    for (sandbox, s) in subjects() {
        let deaf = "trap '' TERM HUP; for i in $(seq 2000); do sleep 0.1; done";
        let node = node_with(&s, sandbox, deaf, Some(500));
        until("the shim claims it", || s.attempt_dir(&attempt(1)).join(layout::PID).is_symlink()).await;
        kill(node);
        // Nobody asks the runtime of this process for anything until it is over.
        let exit = s.attempt_dir(&attempt(1)).join(layout::EXIT);
        until("it is ended", || fs::metadata(&exit).is_ok_and(|file| file.len() > 0)).await;
        until("nothing of it is left", || marked(&s).is_empty()).await;
        assert_eq!(wait(&s.runtime, &attempt(1)).await.outcome, Outcome::TimedOut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_attempt_can_be_stopped() {
    for (sandbox, s) in subjects() {
        kill(node(&s, sandbox, "sleep 1001"));
        s.runtime.stop(&attempt(1)).await.unwrap();
        assert_eq!(wait(&s.runtime, &attempt(1)).await.outcome, Outcome::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_no_shim_claimed_is_never_run_later() {
    let s = Scratch::new(Sandbox::Off);
    // What a node leaves that is killed between writing the order and starting the shim.
    run(&s.runtime, &shell(1, "exit 0")).await;
    let dir = s.attempt_dir(&attempt(1));
    fs::remove_dir_all(dir.join(layout::SHIM)).unwrap();
    fs::create_dir(dir.join(layout::SHIM)).unwrap();
    let next = runtime(s.dir.path(), Sandbox::Off, |_| {});
    assert_eq!(next.list().await.unwrap()[0].state, State::Ended);
    assert!(matches!(wait(&next, &attempt(1)).await.outcome, Outcome::Infrastructure(_)));
    let shim = fs::read_dir(s.dir.path().join("state/bin")).unwrap().next().unwrap().unwrap().path();
    let late = Command::new(shim).arg("run").arg(dir.join(layout::SPEC)).status().unwrap();
    assert_eq!(late.code(), Some(3), "the claim is taken");
}
