//! Interrupting `run`: attempts go on, the next `run` adopts them; a second interrupt stops them.

use std::fs;

use nix::sys::signal::Signal;

use crate::bench::{Plan, World, processes_with, task, until};

#[test]
fn an_interrupted_attempt_is_adopted_by_the_next_run() {
    let world = World::with_repository().unsandboxed();
    let runs = world.gate("runs");
    let script =
        format!("echo started; echo run >> {}; {}echo finished; echo x > x", runs.display(), world.wait_at("go"));
    world.plan(&Plan::new([task("A", &script), task("B", "test -f x && echo y > y").after(&["A"])]));
    let first = world.start();
    world.until_there("go");
    first.signal(Signal::SIGINT);
    first.wait().expect(130).says("1 attempt keeps running");

    let second = world.start();
    until("the attempt is adopted", || world.path(".devstack/api.sock").exists());
    world.open_gate("go");
    second.wait().expect(0);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n", "it ran once");
    assert_eq!(world.log("A", 1), "started\nfinished\n");
    assert_eq!(world.outcomes("A"), ["done"]);
}

#[test]
fn an_attempt_that_ends_while_nobody_watches_is_not_run_again() {
    let world = World::with_repository().unsandboxed();
    let (runs, over) = (world.gate("runs"), world.gate("over"));
    let script = format!("echo run >> {}; {}echo x > x; touch {}", runs.display(), world.wait_at("go"), over.display());
    world.plan(&Plan::new([task("A", &script)]));
    let first = world.start();
    world.until_there("go");
    first.signal(Signal::SIGTERM);
    first.wait().expect(130);
    world.open_gate("go");
    until("it ends", || over.exists());
    world.run().expect(0);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
    assert_eq!(world.git(&["show", "dev:x"]), "x");
}

#[test]
fn a_second_interrupt_stops_attempts() {
    let world = World::with_repository().unsandboxed();
    let mark = format!("{}", world.gate("go").display());
    world.plan(&Plan::new([task("A", &world.wait_at("go"))]));
    let mut run = world.start();
    world.until_there("go");
    run.signal(Signal::SIGINT);
    until("it says how to stop", || run.stderr().contains("interrupt again") || run.is_over());
    run.signal(Signal::SIGINT);
    run.wait().expect(130);
    assert_eq!(processes_with(&mark), [] as [i32; 0]);
    // Uncharged: its one attempt is still to come.
    world.open_gate("go");
    world.plan(&Plan::new([task("A", &world.wait_at("go"))]));
    let outcomes = world.outcomes("A");
    assert_eq!(outcomes, ["stopped"]);
    assert_ne!(world.status("A"), "BLOCKED");
}
