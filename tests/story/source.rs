//! A source that moved on with commits that conflict: a resolution task brings both sides together, then the source is
//! fast-forwarded.

use crate::bench::{Plan, Running, World, task, until};

/// `A` is delivered; then a person changes on `dev` what `B` changes, too, and `B` goes on.
fn diverging(more: &str) -> (World, Running, String) {
    let world = World::with_repository().unsandboxed();
    let plan = Plan::new([
        task("A", "sed -i 's/^5$/five/' numbers"),
        task("B", &format!("{}sed -i 's/^five$/cinq/' numbers", world.wait_at("go"))).after(&["A"]),
    ]);
    world.plan(&plan.tables(more));
    let run = world.start();
    world.until_there("go");
    until("A is delivered", || world.try_git(&world.dir(), &["show", "dev:numbers"]).1.contains("five"));
    let theirs = by_hand(&world, "s/^five$/fuenf/");
    world.open_gate("go");
    (world, run, theirs)
}

/// A person's commit on the source's `dev`, in a worktree that they remove again.
fn by_hand(world: &World, change: &str) -> String {
    let tree = world.root().join("tree");
    world.git(&["worktree", "add", "--quiet", tree.to_str().unwrap(), "dev"]);
    let sed = std::process::Command::new("sed").args(["-i", change]).arg(tree.join("numbers")).status();
    assert!(sed.expect("sed is there").success());
    world.git_in(&tree, &["commit", "--quiet", "--all", "-m", "By hand"]);
    world.git(&["worktree", "remove", tree.to_str().unwrap()]);
    world.git(&["rev-parse", "dev"])
}

/// The source has both sides, and is where the hub is.
fn assert_both_delivered(world: &World, theirs: &str) {
    let numbers = world.git(&["show", "dev:numbers"]);
    assert!(numbers.contains("cinq\n") && numbers.contains("fuenf\n"), "{numbers}");
    for commit in [theirs, world.task("B")["merge_commit"].as_str().unwrap()] {
        world.git(&["merge-base", "--is-ancestor", commit, "dev"]);
    }
    assert_eq!(world.git(&["rev-parse", "dev"]), world.in_hub(&["rev-parse", "dev"]));
    for task in world.tasks() {
        assert!(task["status"] == "COMPLETED" && task["delivered_at"].is_string(), "{task}");
    }
    assert!(world.project()["delivery_blocked"].is_null());
    world.hub_is_whole();
}

fn resolutions(world: &World) -> Vec<serde_json::Value> {
    world.tasks().into_iter().filter(|task| task["kind"] == "resolve").collect()
}

#[test]
fn a_senior_agent_brings_both_together() {
    let script = "set -e; git rev-parse --verify --quiet MERGE_HEAD; grep -q '^<<<<<<<' numbers; \
                  grep -q 'have commits\\|has commits' \"$DEVSTACK_PROMPT_FILE\"; sed -i '/^[<=>]\\{7\\}/d' numbers";
    let senior = format!("[agents.senior]\ncommand = [\"sh\", \"-c\", {}]\n", crate::bench::toml_text(script));
    let (world, run, theirs) = diverging(&senior);
    run.wait().expect(0);
    let resolutions = resolutions(&world);
    assert_eq!(resolutions.len(), 1, "{resolutions:?}");
    let resolution = &resolutions[0];
    assert_eq!(resolution["id"], "sync-resolve-1");
    assert!(resolution["resolves"].is_null(), "it blocks no task");
    assert_eq!((&resolution["role"], &resolution["executor"]), (&"senior".into(), &"agent".into()));
    assert_both_delivered(&world, &theirs);
    let merges = world.devstack(&["merge", "list", "-o", "json"]).expect(0).json();
    let tasks: Vec<&str> = merges["merges"].as_array().unwrap().iter().map(|m| m["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["shop/A", "shop/B", "shop/sync-resolve-1"]);
    world.run().expect(0);
    assert_eq!(world.tasks().len(), 3);
}

#[test]
fn a_person_brings_both_together() {
    let (world, run, theirs) = diverging("");
    run.wait().expect(7).says("devstack task resolve shop/sync-resolve-1 --checkout DIR");
    assert_eq!(world.git(&["rev-parse", "dev"]), theirs, "the source is as its person left it");
    // However often a node starts and a delivery is tried.
    world.run().expect(7);
    assert_eq!(resolutions(&world).len(), 1);
    world.devstack(&["status"]).expect(0).says("The source of shop is not up to date: it waits for `sync-resolve-1`");
    world.devstack(&["task", "explain", "B"]).expect(0).says("not delivered yet: it waits for `sync-resolve-1`");
    let why = world.project()["delivery_blocked"].as_str().expect("a reason").to_owned();
    assert!(why.contains("numbers"), "{why}");

    world.devstack(&["task", "resolve", "sync-resolve-1", "--checkout", "by-hand"]).expect(0);
    let dir = world.path("by-hand");
    assert_eq!(world.git_in(&dir, &["rev-parse", "MERGE_HEAD"]), theirs);
    let text = world.read("by-hand/numbers");
    assert!(text.contains("<<<<<<<") && text.contains("cinq") && text.contains("fuenf"), "{text}");
    let mended: String = text.lines().filter(|line| line.len() < 7).map(|line| format!("{line}\n")).collect();
    world.write("by-hand/numbers", &mended);
    world.git_in(&dir, &["commit", "--quiet", "--all", "-m", "Keep both"]);
    world.devstack(&["task", "resolve", "sync-resolve-1", "--from", "by-hand"]).expect(0);
    world.run().expect(0);
    assert_both_delivered(&world, &theirs);
}

#[test]
fn a_source_that_takes_its_commit_back_needs_no_resolution() {
    let (world, run, _) = diverging("");
    run.wait().expect(7);
    by_hand(&world, "s/^fuenf$/five/");
    world.run().expect(0);
    assert_eq!(world.git(&["rev-parse", "dev"]), world.in_hub(&["rev-parse", "dev"]));
    assert_eq!(world.status("sync-resolve-1"), "REJECTED");
    assert_eq!(world.git(&["show", "dev:numbers"]).lines().nth(4), Some("cinq"));
}

#[test]
fn a_conflict_is_found_at_submission_too_and_one_that_was_given_up_comes_back_when_asked_for() {
    let (world, run, theirs) = diverging("");
    run.wait().expect(7);
    world.devstack(&["task", "reject", "sync-resolve-1"]).expect(0);
    world.devstack(&["status"]).expect(0).says("was rejected").says("devstack project resume shop");
    // Submitting again asks for the delivery again.
    world.run().expect(7).says("devstack task resolve shop/sync-resolve-2 --checkout DIR");
    assert_eq!(world.git(&["rev-parse", "dev"]), theirs);
    assert_eq!(world.status("sync-resolve-1"), "REJECTED");
}
