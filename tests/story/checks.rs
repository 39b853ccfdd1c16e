//! The project's checks: on the merge, before it is published, and what they say comes back.

use crate::bench::{Plan, World, task};

#[test]
fn a_failing_check_comes_back_and_the_next_attempt_starts_from_the_merged_tree() {
    let world = World::with_repository();
    let script = "cat > /dev/null < \"$DEVSTACK_PROMPT_FILE\"
        if grep -q 'no total here' \"$DEVSTACK_PROMPT_FILE\"; then
            test -f part || exit 8 # its own work
            test -f other || exit 9 # the tree that was tested
            echo 2 > total; cp \"$DEVSTACK_PROMPT_FILE\" told
        else echo 1 > part; fi";
    let plan = Plan::new([
        task("OTHER", "echo other > other; echo 1 > total"),
        task("A", script).after(&["OTHER"]).with("attempts = 3"),
    ]);
    world.plan(&plan.project(
        "checks = [\"test $(cat total) = $(ls part other 2>/dev/null | wc -l) || { echo no total here; exit 4; }\"]",
    ));
    world.run().expect(0);
    let task = world.task("A");
    let stages: Vec<_> = task["attempt_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| format!("{} {}", a["stage"].as_str().unwrap(), a["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(stages, ["work done", "check failed", "work done", "check done"]);
    let told = world.git(&["show", "dev:told"]);
    assert!(told.contains("no total here") && told.contains("check failed (exit 4)"), "{told}");
    assert_eq!(world.git(&["show", "dev:total"]), "2");
}

#[test]
fn the_merge_that_was_tested_is_the_one_that_is_published() {
    let world = World::with_repository().unsandboxed();
    let tested = world.gate("tested");
    let check = format!("git rev-parse HEAD >> {}; test -f README", tested.display());
    let tasks = (0..5).map(|n| task(&format!("T{n}"), &format!("echo {n} > f{n}")));
    world.plan(&Plan::new(tasks).project(&format!("checks = [{}]", crate::bench::toml_text(&check))));
    world.run().expect(0);
    let tested = std::fs::read_to_string(&tested).unwrap();
    let merges = world.git(&["log", "--first-parent", "--format=%H", "main..dev"]);
    assert_eq!(merges.lines().count(), 5);
    for merge in merges.lines() {
        assert!(tested.lines().any(|line| line == merge), "{merge} was published and never tested:\n{tested}");
    }
}

#[test]
fn what_a_check_writes_is_not_merged() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "echo a > a")]).project("checks = [\"echo litter > litter; git add . || true\"]"));
    world.run().expect(0);
    assert_eq!(world.git(&["ls-tree", "--name-only", "dev"]), "README\na\nnumbers");
}

#[test]
fn a_check_that_always_fails_never_reaches_the_branch() {
    let world = World::with_repository();
    world.plan(
        &Plan::new([task("A", "echo $DEVSTACK_ATTEMPT > a").with("attempts = 2")]).project("checks = [\"false\"]"),
    );
    world.run().expect(7);
    assert_eq!(world.blocked_reason("A"), "merge-check-failed");
    let (there, _) = world.try_git(&world.dir(), &["rev-parse", "--verify", "dev"]);
    assert!(!there || world.git(&["rev-parse", "dev"]) == world.git(&["rev-parse", "main"]));
}
