//! `plan import`, `plan watch` and `plan export` beside a node that works: a tasks.json lives through a whole plan.

use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bench::{World, until};

const LIST: &str = r#"{
  "tasks": [
    {
      "id": "T-002", "title": "Write b", "status": "TODO", "assigned": "Dev1", "priority": "High", "created": "2025-11-20",
      "dependencies": ["T-001"], "description": "b, after a", "acceptance_criteria": ["b is there"], "technical_notes": "", "estimate": 2
    },
    { "id": "T-001", "title": "Write a", "status": "TODO", "assigned": "Unassigned", "priority": "Medium", "created": "2025-11-20", "dependencies": [] }
  ],
  "backlog": ["Think of c"],
  "metadata": { "project": "shop", "last_updated": "2025-11-20" }
}"#;

/// A task of the file, once it can be read.
fn task(world: &World, id: &str) -> Value {
    let list: Value = serde_json::from_str(&world.read("tasks.json")).unwrap_or_default();
    let tasks = list["tasks"].as_array().cloned().unwrap_or_default();
    tasks.into_iter().find(|task| task["id"] == id).unwrap_or_default()
}

#[test]
fn a_list_lives_through_a_plan() {
    let world = World::with_repository();
    world.write("tasks.json", LIST);
    let command = "printf '%s' \"$DEVSTACK_TASK_ID\" > \"$DEVSTACK_TASK_ID\"";
    world.devstack(&["plan", "import", "tasks.json", "--submit", "--command", command]).expect(0).says("2 added");
    let up = world.spawn(&["up", "--runtime", "process", "--sandbox", "off", "--slots", "2"]);
    until("the node is up", || UnixStream::connect(world.path(".devstack/api.sock")).is_ok());
    let watch = world.spawn(&["plan", "watch", "tasks.json"]);
    // Nobody touches the file: what happens in the project alone arrives in it.
    until("both are done", || ["T-001", "T-002"].iter().all(|id| task(&world, id)["status"] == "COMPLETED"));
    let done = task(&world, "T-002");
    assert_eq!(
        (&done["estimate"], &done["attempts"], &done["branch"]),
        (&2.into(), &1.into(), &"feat/dev1".into()),
        "{done}"
    );
    assert_eq!(done["merge_commit"].as_str().map(str::len), Some(40), "{done}");
    assert_eq!(done["acceptance_criteria"], serde_json::json!(["b is there"]), "the file's own form");
    // A task that is written into the file is done, and merged.
    let text = world.read("tasks.json");
    world.write(
        "tasks.json",
        &text.replacen("\"tasks\": [", "\"tasks\": [{\"id\": \"T-003\", \"title\": \"Write c\"},", 1),
    );
    until("the new one is done", || task(&world, "T-003")["status"] == "COMPLETED");
    // Delivery follows the merge.
    until("it is delivered", || world.try_git(&world.dir(), &["show", "dev:T-003"]) == (true, "T-003".to_owned()));
    watch.signal(Signal::SIGTERM);
    watch.wait().expect(130);
    let out = world.devstack(&["plan", "export", "shop", "--format", "tasks-json"]).expect(0).json();
    let statuses: Vec<&str> =
        out["tasks"].as_array().unwrap().iter().filter_map(|task| task["status"].as_str()).collect();
    assert_eq!(statuses, ["COMPLETED"; 3]);
    up.signal(Signal::SIGTERM);
    up.wait();
}
