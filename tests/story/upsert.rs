//! Submitting a plan again brings it up to date, or is refused by name and changes nothing.

use crate::bench::{Plan, World, human, task};

#[test]
fn again_unchanged_is_nothing() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "echo a > a"), human("H")]));
    world.run().expect(7);
    let (facts, head) = (world.facts().len(), world.git(&["rev-parse", "dev"]));
    let again = world.devstack(&["plan", "submit", "devstack.toml", "-o", "json"]).expect(0).json();
    assert_eq!((again["added"].as_u64(), again["unchanged"].as_u64()), (Some(0), Some(2)), "{again}");
    assert_eq!(world.facts().len(), facts);
    world.run().expect(7);
    assert_eq!(world.git(&["rev-parse", "dev"]), head);
    assert_eq!(world.outcomes("A"), ["done"]);
}

#[test]
fn a_blocked_task_whose_text_changed_is_retried_and_new_ones_are_added() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "exit 1")]));
    world.run().expect(7);
    world.plan(&Plan::new([task("A", "echo a > a"), task("B", "test -f a && echo b > b").after(&["A"])]));
    world.run().expect(0).says("1 added").says("1 retried");
    assert_eq!(world.outcomes("A"), ["failed", "done"]);
}

#[test]
fn what_runs_or_is_done_is_not_changed_and_nothing_is_removed() {
    let world = World::with_repository().unsandboxed();
    let wait = format!("{}echo b > b", world.wait_at("go"));
    world.plan(&Plan::new([task("DONE", "echo a > a"), task("RUNS", &wait).after(&["DONE"]), human("H")]));
    let run = world.start();
    world.until_there("go");
    let refused = |plan: Plan, name: &str| {
        world.plan(&plan);
        world.devstack(&["plan", "submit", "devstack.toml"]).expect(5).says(name).says("hint: ");
    };
    let (done, runs) = (|| task("DONE", "echo a > a"), || task("RUNS", &wait).after(&["DONE"]));
    refused(Plan::new([done(), runs().with("timeout = \"7s\""), human("H"), task("NEW", "true")]), "`RUNS`");
    refused(Plan::new([task("DONE", "echo other > a"), runs(), human("H")]), "`DONE`");
    refused(Plan::new([done(), runs()]), "`H`");
    assert_eq!(world.tasks().len(), 3, "a refused plan adds nothing");
    world.open_gate("go");
    run.wait().expect(7);
    assert_eq!(world.status("RUNS"), "COMPLETED");
}
