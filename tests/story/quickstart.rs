//! The first command of the README.

use std::fs;

use crate::bench::World;

/// The contract's fields of `task list -o json`, in its order, and what was added since.
const FIELDS: [&str; 22] = [
    "id",
    "project",
    "kind",
    "title",
    "status",
    "blocked_reason",
    "role",
    "executor",
    "agent",
    "host",
    "attempts",
    "priority",
    "dependencies",
    "resolves",
    "resolved_by",
    "branch",
    "commit",
    "merge_commit",
    "delivered_at",
    "created_at",
    "updated_at",
    "unknown",
];

#[test]
fn it_tells_the_whole_story_and_continues() {
    let world = World::bare();
    let dir = world.path("example");
    let told = world.devstack(&["quickstart", "--dir", "example"]).expect(0);
    let told = told.says("conflicts in menu.txt").says("timed-out").says("all 6 tasks are COMPLETED");

    // Data is on stdout, and it is the history alone.
    assert!(told.stdout.contains("Merge branch 'feat/"), "{}", told.stdout);
    assert!(!told.stdout.contains("COMPLETED"), "{}", told.stdout);

    let list = world.spawn_in(&dir, &["task", "list", "-o", "json"]).wait().expect(0);
    let json = list.json();
    assert_eq!(json["apiVersion"], "v1");
    let tasks = json["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 6);
    for task in tasks {
        let mut names: Vec<_> = task.as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = FIELDS.to_vec();
        names.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        assert_eq!(task["status"], "COMPLETED", "{task}");
        let merge = task["merge_commit"].as_str().expect("a merge");
        world.git_in(&dir, &["merge-base", "--is-ancestor", merge, "dev"]);
        assert!(task["delivered_at"].as_str().unwrap().ends_with('Z'), "{task}");
    }

    // Five merges in, each with its trailers; a conflict's task rides on its resolution's.
    let first_parents = ["log", "--first-parent", "--format=%H", "main..dev"];
    let merges = world.git_in(&dir, &first_parents);
    assert_eq!(merges.lines().count(), 5);
    for merge in merges.lines() {
        let message = world.git_in(&dir, &["log", "-1", "--format=%B", merge]);
        assert!(message.starts_with("Merge branch 'feat/"), "{message}");
        for trailer in ["Devstack-Task: cafe/T-", "Devstack-Attempt: "] {
            assert!(message.contains(trailer), "{message}");
        }
        assert_eq!(world.git_in(&dir, &["log", "-1", "--format=%P", merge]).split(' ').count(), 2);
    }

    let again = world.devstack(&["quickstart", "--dir", "example"]).expect(0);
    again.says("continuing");
    assert_eq!(world.git_in(&dir, &first_parents), merges);
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let world = World::bare();
    world.write("other/thesis.txt", "years of work");
    let refused = world.devstack(&["quickstart", "--dir", "other"]).expect(5);
    refused.says("other").says("hint: ");
    let names: Vec<_> = fs::read_dir(world.path("other")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["thesis.txt"]);
}
