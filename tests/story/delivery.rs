//! What was merged comes into the person's repository: fast-forward, never under somebody's feet.

use nix::sys::signal::Signal;

use crate::bench::{Plan, World, human, task, until};

#[test]
fn everything_is_delivered_when_run_returns() {
    let world = World::with_repository();
    world.plan(&Plan::new((0..6).map(|n| task(&format!("T{n}"), &format!("echo {n} > f{n}")))));
    world.run().expect(0);
    assert_eq!(world.git(&["rev-parse", "dev"]), world.in_hub(&["rev-parse", "dev"]));
    for task in world.tasks() {
        assert!(task["delivered_at"].is_string(), "{task}");
    }
}

#[test]
fn a_checked_out_integration_branch_is_refused_at_submission() {
    let world = World::with_repository();
    world.git(&["switch", "--quiet", "--create", "dev"]);
    world.plan(&Plan::new([task("A", "echo a > a")]));
    let refused = world.run();
    assert!([2, 5].contains(&refused.code), "{refused:?}");
    refused.says("`dev` is checked out").says("switch");
    let projects = world.devstack(&["project", "list", "-o", "json"]).expect(0).json();
    assert_eq!(projects["projects"].as_array().unwrap().len(), 0, "no project is made");
    world.git(&["switch", "--quiet", "main"]);
    world.run().expect(0);
}

#[test]
fn one_checked_out_later_waits_says_so_and_is_delivered_by_a_later_run() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([task("A", &format!("{}echo a > a", world.wait_at("go")))]));
    let run = world.start();
    world.until_there("go");
    let before = world.git(&["rev-parse", "main"]);
    world.git(&["switch", "--quiet", "--create", "dev", "main"]);
    world.open_gate("go");
    run.wait().expect(0).says("checked out");

    assert_eq!(world.git(&["rev-parse", "dev"]), before, "nobody's files move under their feet");
    assert_eq!(world.status("A"), "COMPLETED");
    assert!(world.task("A")["delivered_at"].is_null());
    world.devstack(&["task", "explain", "A"]).expect(0).says("not delivered yet");
    let why = world.project()["delivery_blocked"].as_str().expect("a reason").to_owned();
    assert!(why.contains("checked out"), "{why}");

    world.git(&["switch", "--quiet", "main"]);
    world.run().expect(0);
    assert_eq!(world.git(&["show", "dev:a"]), "a");
    assert!(world.task("A")["delivered_at"].is_string());
    assert!(world.project()["delivery_blocked"].is_null());
}

#[test]
fn a_source_that_moved_on_is_merged_in() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([
        task("A", "echo a > a"),
        task("B", &format!("{}echo b > b", world.wait_at("go"))).after(&["A"]),
    ]));
    let run = world.start();
    world.until_there("go");
    // A person commits to dev, in a worktree that they remove again.
    until("A is delivered", || world.try_git(&world.dir(), &["rev-parse", "--verify", "dev:a"]).0);
    let tree = world.root().join("tree");
    world.git(&["worktree", "add", "--quiet", tree.to_str().unwrap(), "dev"]);
    std::fs::write(tree.join("theirs"), "by hand\n").unwrap();
    world.git_in(&tree, &["add", "theirs"]);
    world.git_in(&tree, &["commit", "--quiet", "-m", "By hand"]);
    world.git(&["worktree", "remove", tree.to_str().unwrap()]);
    let theirs = world.git(&["rev-parse", "dev"]);
    world.open_gate("go");
    run.wait().expect(0);

    assert_eq!(world.git(&["ls-tree", "--name-only", "dev"]), "README\na\nb\nnumbers\ntheirs");
    world.git(&["merge-base", "--is-ancestor", &theirs, "dev"]);
    assert_eq!(world.git(&["rev-parse", "dev"]), world.in_hub(&["rev-parse", "dev"]));
    world.hub_is_whole();
}

#[test]
fn only_committed_state_counts_and_that_is_said() {
    let world = World::with_repository();
    world.write("README", "not committed\n");
    world.plan(&Plan::new([task("A", "cp README seen")]));
    world.run().expect(0).says("warning: ").says("README");
    assert_eq!(world.git(&["show", "dev:seen"]), "a shop");
    assert_eq!(world.read("README"), "not committed\n");
}

#[test]
fn attempts_stay_reachable_until_the_proof_and_longer() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([
        task("KEPT", "echo half > half; exit 1"),
        task("DONE", "echo done > done"),
        human("H"),
        task("RUNS", &world.wait_at("never")),
    ]));
    let run = world.start();
    world.until_there("never");
    until("the others are over", || world.status("KEPT") == "BLOCKED" && world.status("DONE") == "COMPLETED");
    run.signal(Signal::SIGINT);
    until("it says so", || run.stderr().contains("interrupt again"));
    run.signal(Signal::SIGINT);
    run.wait().expect(130);
    // Work of a failed attempt, and of a finished one within its retention.
    let kept = world.in_hub(&["show", "refs/devstack/attempts/KEPT/1:half"]);
    assert_eq!(kept, "half");
    world.in_hub(&["rev-parse", "--verify", "refs/devstack/attempts/DONE/1"]);
    // And the next attempt starts from it.
    world.plan(&Plan::new([
        task("KEPT", "grep -q half half && echo whole > half"),
        task("DONE", "echo done > done"),
        human("H"),
        task("RUNS", "true"),
    ]));
}
