//! A node that is killed loses nothing: the next one adopts what runs, reads on where it was, and holds the deadlines.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use devstack::runtime::{DockerRuntime, Job, Runtime, State};
use devstack_dag::attempt::Outcome;

use crate::{
    containers::{self, Containers},
    harness::*,
    world::world,
};

const STATE: &str = "DEVSTACK_TEST_STATE";
const SCRIPT: &str = "DEVSTACK_TEST_SCRIPT";
const TIMEOUT: &str = "DEVSTACK_TEST_TIMEOUT";

async fn runtime(dir: &Path) -> DockerRuntime {
    containers::runtime(dir, &containers::socket(), |config| config.margin = Duration::from_millis(500)).await
}

fn job(script: &str, timeout_ms: u64) -> Job {
    let mut job = shell(1, script);
    (job.timeout_ms, job.grace_ms) = (timeout_ms, 200);
    job.secrets = vec![secret("TOKEN", "hunter2-secret")];
    job
}

/// The node that is killed: this test program once more. Not a test of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other tests as the node they kill"]
async fn the_node() {
    let text = |name: &str| std::env::var(name).unwrap();
    let runtime = runtime(text(STATE).as_ref()).await;
    runtime.start(&job(&text(SCRIPT), text(TIMEOUT).parse().unwrap())).await.unwrap();
    println!("\nSTARTED");
    std::future::pending::<()>().await;
}

/// Runs a node that starts the script, and returns when it has.
fn node(w: &Containers, script: &str, timeout_ms: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "adopt::the_node", "--nocapture"]);
    command.env(STATE, w.dir.path()).env(SCRIPT, script).env(TIMEOUT, timeout_ms.to_string());
    let mut node = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(node.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "STARTED"), "the node started nothing");
    node
}

fn kill(mut node: Child) {
    node.kill().unwrap();
    node.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_reads_on_and_gets_the_true_end() {
    let Some(w) = world().await else { return };
    let script = "i=0; while ! test -e go; do i=$((i+1)); echo $i; [ $i = 20 ] && touch up; sleep 0.01; done; exit 42";
    let node = node(&w, script, 600_000);
    w.until_made(&attempt(1), "up").await;
    let mut reader = w.runtime.log(&attempt(1), 0, true).await.unwrap();
    let mut text = reader.next().await.unwrap().unwrap();
    let left_at = reader.offset();
    drop(reader);
    kill(node);
    let next = runtime(w.dir.path()).await;
    assert_eq!(next.list().await.unwrap()[0].state, State::Running);
    // Started again by a node that remembers the order: still the same run.
    next.start(&shell(1, "echo twice; exit 1")).await.unwrap();
    let mut reader = next.log(&attempt(1), left_at, true).await.unwrap();
    fs::write(w.attempt_dir(&attempt(1)).join("workspace/go"), "").unwrap();
    let one = attempt(1);
    let (ended, ()) = tokio::join!(wait(&next, &one), async {
        while let Some(bytes) = reader.next().await.unwrap() {
            text.extend(bytes);
        }
    });
    assert_eq!(ended.outcome, Outcome::Exited(42));
    let numbers: Vec<usize> = String::from_utf8(text).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() > 20 && numbers == (1..=numbers.len()).collect::<Vec<_>>(), "{numbers:?}");
    w.remove(&attempt(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_no_node_was_there_is_told_later() {
    let Some(w) = world().await else { return };
    kill(node(&w, "echo done; exit 7", 600_000));
    until("it ends by itself", || w.inspect(&attempt(1), "{{.State.Running}}") == "false").await;
    let next = runtime(w.dir.path()).await;
    assert_eq!(next.list().await.unwrap()[0].state, State::Ended);
    assert_eq!(wait(&next, &attempt(1)).await.outcome, Outcome::Exited(7));
    assert_eq!(log(&next, &attempt(1)).await, "done\n");
}

/// The deadline is the first node's, and the container cannot hear: the second one ends it.
#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_attempt_keeps_its_deadline() {
    let Some(w) = world().await else { return };
    let node = node(&w, "touch up; sleep 1001", 4_000);
    w.until_made(&attempt(1), "up").await;
    w.docker(&["pause", &w.name(&attempt(1))]);
    kill(node);
    let next = runtime(w.dir.path()).await;
    assert_eq!(wait(&next, &attempt(1)).await.outcome, Outcome::TimedOut);
}

/// A node that is killed leaves secrets of what runs; they go with the attempt, by whoever removes it.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_killed_node_go_with_their_attempt() {
    let Some(w) = world().await else { return };
    let node = node(&w, "touch up; sleep 1001", 600_000);
    w.until_made(&attempt(1), "up").await;
    kill(node);
    let left = |w: &Containers| w.vaults().iter().flat_map(|dir| fs::read_dir(dir).unwrap()).count();
    assert_eq!(left(&w), 1);
    let next = runtime(w.dir.path()).await;
    next.remove(&attempt(1)).await.unwrap();
    assert_eq!(left(&w), 0);
    next.tidy().await;
    assert_eq!((w.vaults().len(), w.names().len()), (0, 0));
}

/// What a node leaves that is killed between making the container and starting it is never run later.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_made_and_not_started_is_not_run() {
    let Some(w) = world().await else { return };
    run(&w.runtime, &shell(1, "exit 0")).await;
    let shown = ["project=shop", "task=T-001", "attempt=2"].map(|label| format!("devstack.{label}"));
    let labels = shown
        .iter()
        .chain([&format!("devstack.installation={}", w.installation)])
        .flat_map(|l| ["--label", l])
        .collect::<Vec<_>>()
        .join("\0");
    let name = w.name(&attempt(2));
    let args: Vec<_> =
        ["create", "--name", &name].into_iter().chain(labels.split('\0')).chain(["devstack/minimal", "true"]).collect();
    w.docker(&args);
    let mut listed = w.runtime.list().await.unwrap();
    listed.sort_by_key(|one| one.attempt.number);
    assert!(matches!(listed[1].state, State::Broken { .. }), "{listed:?}");
    // Started properly: the old one is replaced.
    assert_eq!(run(&w.runtime, &shell(2, "exit 6")).await.outcome, Outcome::Exited(6));
    w.remove(&attempt(2)).await;
}
