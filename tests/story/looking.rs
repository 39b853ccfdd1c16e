//! Looking: logs, diff, explain, facts, status.

use crate::bench::{Plan, World, human, task, until};

#[test]
fn logs_follow_and_end() {
    let world = World::with_repository().unsandboxed();
    world.plan(&Plan::new([task("A", &format!("echo before; {}echo after; echo a > a", world.wait_at("go")))]));
    let run = world.start();
    world.until_there("go");
    let follow = world.spawn(&["task", "logs", "-f", "A"]);
    until("what was said before is there", || follow.stdout() == "before\n");
    world.open_gate("go");
    let followed = follow.wait().expect(0);
    assert_eq!(followed.stdout, "before\nafter\n");
    run.wait().expect(0);
    assert_eq!(world.log("A", 1), "before\nafter\n", "the log outlives its attempt");
    world.devstack(&["task", "logs", "A", "--attempt", "9"]).expect(3);
}

#[test]
fn a_diff_is_what_the_commit_changes() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "sed -i 's/^3$/three/' numbers")]));
    world.run().expect(0);
    let diff = world.devstack(&["task", "diff", "A"]).expect(0).stdout;
    assert!(diff.contains("-3\n+three\n"), "{diff}");
}

#[test]
fn explain_says_where_a_task_is() {
    let world = World::with_repository();
    world.plan(&Plan::new([
        human("H"),
        task("LATER", "true").after(&["H"]),
        task("BROKEN", "echo no luck; exit 3"),
        task("DONE", "echo d > d"),
    ]));
    world.run().expect(7);
    let says = |id: &str, words: &[&str]| {
        let text = world.devstack(&["task", "explain", id]).expect(0).stdout;
        words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is not in: {text}"));
    };
    says("H", &["TODO", "it needs manual work", "devstack task resolve"]);
    says("LATER", &["waits for H"]);
    says("BROKEN", &["BLOCKED (attempts-exhausted)", "exit code 3", "devstack task retry"]);
    says("DONE", &["COMPLETED", "merged", "delivered"]);
}

#[test]
fn facts_come_in_order_and_status_counts() {
    let world = World::with_repository();
    world.plan(&Plan::new([task("A", "echo a > a"), human("H")]));
    world.run().expect(7);
    let facts = world.facts();
    let numbers: Vec<u64> = facts.iter().map(|fact| fact["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    for kind in ["tasks-added", "attempt-started", "attempt-ended", "merge-landed", "task-completed", "delivered"] {
        assert!(facts.iter().any(|fact| fact["kind"] == kind), "no {kind}");
    }
    let status = world.devstack(&["status", "-o", "json"]).expect(0).json();
    assert_eq!((status["tasks"]["COMPLETED"].as_u64(), status["tasks"]["TODO"].as_u64()), (Some(1), Some(1)));
    assert_eq!(status["waiting"][0]["task"], "shop/H");
    let agents = world.devstack(&["agent", "list", "-o", "json"]).expect(0).json();
    assert!(agents["agents"].is_array(), "{agents}");
}
