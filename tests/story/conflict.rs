//! A conflict that a person resolves: laid out with `--checkout`, handed in with `--from`.

use crate::bench::{Plan, World, task};

/// Two tasks change the same line; the resolution is a person's, for no role can do it.
fn in_conflict() -> World {
    let world = World::with_repository().unsandboxed();
    // The second one finishes its work only when the first is merged, from the same base.
    let plan = Plan::new([
        task("ONE", &format!("sed -i 's/^5$/five/' numbers; {}", world.wait_at("both"))),
        task("TWO", &format!("sed -i 's/^5$/cinq/' numbers; {}", world.wait_at("both2"))),
    ]);
    world.plan(&plan);
    let run = world.start();
    world.until_there("both");
    world.until_there("both2");
    world.open_gate("both");
    world.open_gate("both2");
    let ended = run.wait().expect(7);
    assert!(ended.stdout.contains("devstack task resolve"), "{ended:?}");
    world
}

/// The task that lost the race, and its resolution.
fn blocked(world: &World) -> (String, String) {
    let tasks = world.tasks();
    let blocked = tasks.iter().find(|task| task["status"] == "BLOCKED").expect("a BLOCKED task");
    assert_eq!(blocked["blocked_reason"], "conflict");
    let resolution = tasks.iter().find(|task| task["kind"] == "resolve").expect("a resolution");
    assert_eq!(resolution["resolves"], blocked["id"]);
    assert_eq!(resolution["executor"], "human");
    assert!(resolution["role"].is_null());
    let id = |task: &serde_json::Value| task["id"].as_str().unwrap().to_owned();
    assert_eq!(id(resolution), format!("{}-resolve-1", id(blocked)));
    (id(blocked), id(resolution))
}

fn mend(world: &World) {
    let text = world.read("by-hand/numbers").lines().filter(|line| line.len() < 7).map(|l| format!("{l}\n")).collect();
    let _: &String = &text;
    world.write("by-hand/numbers", &text);
}

fn assert_both_completed(world: &World, blocked: &str, resolution: &str) {
    world.run().expect(0);
    let (of_blocked, of_resolution) = (world.task(blocked), world.task(resolution));
    assert_eq!(of_blocked["status"], "COMPLETED");
    assert_eq!(of_blocked["resolved_by"], resolution);
    assert_eq!(of_resolution["status"], "COMPLETED");
    assert_eq!(of_blocked["merge_commit"], of_resolution["merge_commit"]);
    for task in [&of_blocked, &of_resolution] {
        world.git(&["merge-base", "--is-ancestor", task["commit"].as_str().unwrap(), "dev"]);
    }
    let numbers = world.git(&["show", "dev:numbers"]);
    assert!(numbers.contains("five\n") && numbers.contains("cinq\n"), "{numbers}");
    world.hub_is_whole();
}

#[test]
fn by_the_blocked_tasks_id() {
    let world = in_conflict();
    let (blocked, resolution) = blocked(&world);
    let laid_out = world.devstack(&["task", "resolve", &blocked, "--checkout", "by-hand", "-o", "json"]).expect(0);
    assert_eq!(laid_out.json()["conflicts"], true);
    assert_eq!(laid_out.json()["paths"][0], "numbers");
    let dir = world.path("by-hand");
    let text = world.read("by-hand/numbers");
    assert!(text.contains("<<<<<<<") && text.contains("five") && text.contains("cinq"), "{text}");
    world.git_in(&dir, &["rev-parse", "--verify", "MERGE_HEAD"]);

    let hand_in = || world.devstack(&["task", "resolve", &blocked, "--from", "by-hand"]);
    hand_in().expect(5).says("not finished").says("git commit");
    // Staged with its markers: git lets that be committed, devstack does not.
    world.git_in(&dir, &["add", "numbers"]);
    world.git_in(&dir, &["commit", "--quiet", "-m", "with markers"]);
    hand_in().expect(5).says("numbers");
    assert_eq!(world.status(&blocked), "BLOCKED");

    mend(&world);
    hand_in().expect(5).says("uncommitted changes");
    world.git_in(&dir, &["commit", "--quiet", "--all", "-m", "Keep both"]);
    hand_in().expect(0);
    assert_both_completed(&world, &blocked, &resolution);
}

#[test]
fn by_the_resolution_tasks_id() {
    let world = in_conflict();
    let (blocked, resolution) = blocked(&world);
    world.devstack(&["task", "resolve", &format!("shop/{resolution}"), "--checkout", "by-hand"]).expect(0);
    // Again, into the same directory: refused, and nothing is overwritten.
    world.devstack(&["task", "resolve", &resolution, "--checkout", "by-hand"]).expect(5).says("not empty");
    mend(&world);
    world.git_in(&world.path("by-hand"), &["commit", "--quiet", "--all", "-m", "Keep both"]);
    world.devstack(&["task", "resolve", &resolution, "--from", "by-hand"]).expect(0);
    assert_both_completed(&world, &blocked, &resolution);
}

#[test]
fn a_result_that_lacks_a_side_is_refused() {
    let world = in_conflict();
    let (blocked, _) = blocked(&world);
    world.devstack(&["task", "resolve", &blocked, "--checkout", "by-hand"]).expect(0);
    let dir = world.path("by-hand");
    world.git_in(&dir, &["merge", "--abort"]);
    world.write("by-hand/numbers", "mine alone\n");
    world.git_in(&dir, &["commit", "--quiet", "--all", "-m", "Only mine"]);
    world.devstack(&["task", "resolve", &blocked, "--from", "by-hand"]).expect(5).says("does not contain");
    world.devstack(&["task", "resolve", &blocked, "--from", "."]).expect(5);
    assert_eq!(world.status(&blocked), "BLOCKED");
}

#[test]
fn retrying_the_blocked_task_supersedes_its_resolution() {
    let world = in_conflict();
    let (blocked, resolution) = blocked(&world);
    world.devstack(&["task", "retry", &blocked]).expect(0);
    assert_eq!(world.status(&resolution), "REJECTED");
    assert!(world.task(&resolution)["reason"].as_str().unwrap().contains("superseded"));
    assert_ne!(world.status(&blocked), "BLOCKED");
}

#[test]
fn a_task_of_a_person_is_done_the_same_way() {
    let world = World::with_repository();
    world.plan(&Plan::new([
        crate::bench::human("SIGN"),
        task("AFTER", "grep -q Ada README").after(&["SIGN"]).with("allow_empty = true"),
    ]));
    world.run().expect(7);
    world.devstack(&["task", "resolve", "SIGN", "--checkout", "by-hand"]).expect(0);
    world.write("by-hand/README", "a shop, signed Ada\n");
    world.git_in(&world.path("by-hand"), &["commit", "--quiet", "--all", "-m", "Sign"]);
    world.devstack(&["task", "resolve", "SIGN", "--from", "by-hand"]).expect(0);
    world.run().expect(0);
    assert_eq!(world.git(&["show", "dev:README"]), "a shop, signed Ada");
}
