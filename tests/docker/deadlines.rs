//! Agents that want to outlive their time, and supervisors that cannot be got rid of.

use std::time::Duration;

use devstack::runtime::Runtime;
use devstack_dag::attempt::Outcome;
use devstack_shim::procs;

use crate::{harness::*, world::*};

/// Each way to stay: deaf to signals, out of the session, out of the family, at the throat of the supervisor.
const STAYERS: [&str; 5] = [
    "trap '' TERM HUP INT QUIT; touch up; while :; do sleep 0.05; done",
    "setsid sh -c 'trap \"\" TERM; touch up; while :; do sleep 0.05; done' & wait",
    "(setsid sh -c '(trap \"\" TERM HUP; touch up; while :; do sleep 0.05; done) &' &); sleep 1001",
    "trap '' TERM; kill -9 1; kill -STOP 1; kill -TERM 1; kill -KILL -1; touch up; while :; do sleep 0.05; done",
    "(while :; do kill -STOP 1; kill -TERM 1; kill -INT 1; kill -HUP 1; done) & trap '' TERM; touch up; while :; do sleep 0.05; done",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_its_deadline() {
    let Some(w) = world().await else { return };
    let jobs = STAYERS.iter().zip(1..).map(|(script, number)| {
        let mut job = shell(number, script);
        (job.timeout_ms, job.grace_ms) = (2500, 200);
        job
    });
    let jobs: Vec<_> = jobs.collect();
    futures::future::join_all(jobs.iter().map(|job| async {
        w.runtime.start(job).await.unwrap();
        w.until_made(&job.attempt, "up").await;
        let shim = w.pid(&job.attempt);
        let space = std::fs::read_link(format!("/proc/{shim}/ns/pid")).unwrap();
        let ended = wait(&w.runtime, &job.attempt).await;
        // `kill -KILL -1` reaches the agent itself: then it has ended by that.
        assert!(matches!(ended.outcome, Outcome::TimedOut | Outcome::Signalled(9)), "{:?}: {ended:?}", job.command);
        let left = procs::all()
            .unwrap()
            .into_iter()
            .filter(|process| std::fs::read_link(format!("/proc/{}/ns/pid", process.pid)).is_ok_and(|of| of == space));
        assert_eq!(left.count(), 0, "{:?}", job.command);
    }))
    .await;
    assert!(jobs.iter().all(|job| !said_of(&job.attempt).is_empty()));
}

/// The supervisor is the first process of its container: signals from within do not reach it, and are no request to
/// stop.
#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_hears_nobody_within() {
    let Some(w) = world().await else { return };
    let script = "for s in TERM INT HUP STOP KILL SEGV ABRT USR1 PIPE; do kill -$s 1; done; sleep 0.5; \
                  cat /proc/1/environ && echo READ; ls /proc/1/fd && echo LISTED; echo end; exit 5";
    let ended = run(&w.runtime, &shell(1, script)).await;
    assert_eq!(ended.outcome, Outcome::Exited(5));
    let text = log(&w.runtime, &attempt(1)).await;
    assert!(text.ends_with("end\n") && !text.contains("READ") && !text.contains("LISTED"), "{text}");
}

/// A container that stands still does not hear its supervisor: then the host ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_is_ended_by_the_host() {
    let Some(w) = world_with(|config| config.margin = Duration::from_millis(500)).await else { return };
    let mut job = shell(1, "touch up; sleep 1001");
    (job.timeout_ms, job.grace_ms) = (3000, 100);
    w.runtime.start(&job).await.unwrap();
    w.until_made(&attempt(1), "up").await;
    w.docker(&["pause", &w.name(&attempt(1))]);
    assert_eq!(wait(&w.runtime, &attempt(1)).await.outcome, Outcome::TimedOut);
    assert_eq!(w.inspect(&attempt(1), "{{.State.Running}}"), "false");
    assert!(said_of(&attempt(1)).iter().any(|line| line.contains("killing the container")));
    w.remove(&attempt(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_is_removed() {
    let Some(w) = world().await else { return };
    w.runtime.start(&shell(1, "sleep 1001")).await.unwrap();
    w.docker(&["pause", &w.name(&attempt(1))]);
    w.remove(&attempt(1)).await;
}
