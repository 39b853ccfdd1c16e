//! The engine stops, dies, freezes, disappears: no attempt is charged for it, nothing is said to be over that is not,
//! and all goes on by itself when it is back.

use std::{fs, sync::Arc, time::Duration};

use devstack::runtime::{DockerRuntime, Ended, Runtime, RuntimeError, State};
use devstack_dag::attempt::Outcome;
use devstack_shim::{layout, procs};
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;

use crate::{containers::Containers, engine::OwnEngine, harness::*};

/// Waits for an attempt, beside the test.
fn waiter(w: &Containers, number: u32) -> JoinHandle<Ended> {
    let runtime: Arc<DockerRuntime> = Arc::new(w.runtime.clone());
    tokio::spawn(async move { wait(&*runtime, &attempt(number)).await })
}

async fn lost(w: &Containers) {
    let lost = async { w.runtime.health().wait_for(Option::is_some).await.unwrap().clone() };
    let why = tokio::time::timeout(GENEROUS, lost).await.expect("nobody notices that the engine is lost");
    assert!(why.unwrap().contains(&w.socket));
}

async fn well(w: &Containers) {
    let well = async { w.runtime.health().wait_for(Option::is_none).await.map(drop).unwrap() };
    tokio::time::timeout(GENEROUS, well).await.expect("nobody notices that the engine is back");
}

async fn runs_another(w: &Containers, number: u32) {
    assert_eq!(run(&w.runtime, &shell(number, "exit 7")).await.outcome, Outcome::Exited(7));
}

fn alive(pid: i32) -> bool {
    procs::get(pid).is_some_and(|process| process.is_alive())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_takes_its_containers_along_charges_nobody() {
    let Some(mut engine) = OwnEngine::new(false) else { return };
    let w = engine.world(|_| {}).await;
    for (number, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGKILL)] {
        w.runtime.start(&shell(number, "touch up; sleep 1001")).await.unwrap();
        w.until_made(&attempt(number), "up").await;
        let (pid, waiter) = (w.pid(&attempt(number)), waiter(&w, number));
        engine.end(signal);
        lost(&w).await;
        // What is not known is not said.
        assert_eq!(w.runtime.list().await.unwrap()[0].state, State::Running);
        assert!(matches!(w.runtime.start(&shell(9, "exit 9")).await, Err(RuntimeError::Unavailable(_))));
        assert!(matches!(w.runtime.remove(&attempt(number)).await, Err(RuntimeError::Unavailable(_))));
        assert!(!waiter.is_finished());
        engine.start();
        let ended = waiter.await.unwrap();
        assert!(matches!(ended.outcome, Outcome::Infrastructure(_)), "{signal}: {ended:?}");
        assert!(!alive(pid));
        well(&w).await;
        runs_another(&w, number * 10).await;
        w.remove(&attempt(number)).await;
        w.remove(&attempt(number * 10)).await;
    }
}

/// Lines that count, so that a gap or a repeat shows; ends with 42 when told to.
const COUNT: &str =
    "i=0; while ! test -e go; do i=$((i+1)); echo $i; [ $i = 5 ] && touch up; sleep 0.01; done; exit 42";

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_outlive_their_engine_are_not_lost() {
    let Some(mut engine) = OwnEngine::new(true) else { return };
    let w = engine.world(|_| {}).await;
    for (number, signal) in [(10, Signal::SIGTERM), (20, Signal::SIGKILL)] {
        let [counts, ends, stopped, frozen] = [1, 2, 3, 4].map(|n| attempt(number + n));
        for one in [&counts, &ends, &stopped] {
            let mut job = shell(one.number, COUNT);
            job.grace_ms = 200;
            w.runtime.start(&job).await.unwrap();
        }
        let mut late = shell(frozen.number, "touch up; sleep 1001");
        (late.timeout_ms, late.grace_ms) = (6_000, 100);
        w.runtime.start(&late).await.unwrap();
        for one in [&counts, &ends, &stopped, &frozen] {
            w.until_made(one, "up").await;
        }
        w.docker(&["pause", &w.name(&frozen)]);
        let pid = w.pid(&counts);
        let waiters = [1, 2, 3, 4].map(|n| waiter(&w, number + n));
        engine.end(signal);
        lost(&w).await;
        // One ends meanwhile, one is to be stopped, one is beyond its time.
        fs::write(w.attempt_dir(&ends).join("workspace/go"), "").unwrap();
        let exit = w.attempt_dir(&ends).join(layout::EXIT);
        until("it ends without its engine", || fs::metadata(&exit).is_ok_and(|file| file.len() > 0)).await;
        assert!(matches!(w.runtime.stop(&stopped).await, Err(RuntimeError::Unavailable(_))));
        assert!(alive(pid) && waiters.iter().all(|waiter| !waiter.is_finished()));
        engine.start();
        let [counted, ended, stop, frozen_end] = waiters;
        assert_eq!(ended.await.unwrap().outcome, Outcome::Exited(42), "{signal}");
        assert_eq!(stop.await.unwrap().outcome, Outcome::Stopped, "{signal}");
        assert_eq!(frozen_end.await.unwrap().outcome, Outcome::TimedOut, "{signal}");
        well(&w).await;
        assert!(alive(pid) && !counted.is_finished());
        fs::write(w.attempt_dir(&counts).join("workspace/go"), "").unwrap();
        assert_eq!(counted.await.unwrap().outcome, Outcome::Exited(42));
        let text = log(&w.runtime, &counts).await;
        let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
        for one in [counts, ends, stopped, frozen] {
            w.remove(&one).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_answer_is_lost_until_it_does() {
    let Some(engine) = OwnEngine::new(false) else { return };
    let w =
        engine.world(|config| (config.answer, config.act) = (Duration::from_secs(2), Duration::from_secs(10))).await;
    w.runtime.start(&shell(1, "while ! test -e go; do sleep 0.02; done; exit 3")).await.unwrap();
    let waiter = waiter(&w, 1);
    // It hangs: every call has an end.
    engine.signal(Signal::SIGSTOP);
    let called = tokio::time::timeout(GENEROUS, w.runtime.start(&shell(2, "exit 4"))).await;
    lost(&w).await;
    assert!(matches!(called.expect("a call never ends"), Err(RuntimeError::Unavailable(_))));
    engine.signal(Signal::SIGCONT);
    well(&w).await;
    assert_eq!(run(&w.runtime, &shell(2, "exit 4")).await.outcome, Outcome::Exited(4));
    // Its socket is gone.
    let (socket, away) = (engine.path("docker.sock"), engine.path("away"));
    fs::rename(&socket, &away).unwrap();
    assert!(matches!(w.runtime.start(&shell(3, "exit 5")).await, Err(RuntimeError::Unavailable(_))));
    lost(&w).await;
    fs::rename(&away, &socket).unwrap();
    well(&w).await;
    assert_eq!(run(&w.runtime, &shell(3, "exit 5")).await.outcome, Outcome::Exited(5));
    assert!(!waiter.is_finished());
    fs::write(w.attempt_dir(&attempt(1)).join("workspace/go"), "").unwrap();
    assert_eq!(waiter.await.unwrap().outcome, Outcome::Exited(3));
}
