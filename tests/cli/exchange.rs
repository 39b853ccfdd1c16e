//! `plan import --submit` and `plan export` with a node: what goes out comes in again.

use serde_json::{Value, json};

use crate::node::{Node, Place, plan};

const TASKS: &str = "[[task]]\nid = \"T-1\"\ntitle = \"First\"\nprompt = \"\"\"\nDo it.\n\n## Acceptance criteria\n\n- [ ] it works\n\n## Technical notes\n\nUse a file.\"\"\"\npriority = \"high\"\n[[task]]\nid = \"T-2\"\ntitle = \"Second\"\ndependencies = [\"T-1\"]\ntimeout = \"7m\"\n[[task]]\nid = \"T-3\"\nexecutor = \"human\"\ntitle = \"T-3\"\n";

/// A project whose tasks do not move: its only slot is elsewhere.
fn place() -> (Place, Node) {
    let place = Place::new();
    let node = Node::serve(&place.socket(), 0);
    place.write("devstack.toml", &plan("shop", TASKS));
    let submitted = place.run(&["plan", "submit", "devstack.toml"]);
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    (place, node)
}

#[test]
fn an_exported_plan_is_the_same_plan() {
    let (place, _node) = place();
    for format in ["toml", "json"] {
        let file = format!("out.{format}");
        let out = place.run(&["plan", "export", "shop", "--format", format, "--to", &file]);
        assert_eq!((out.code, out.out.as_str()), (Some(0), &*format!("{file}: 3 tasks of shop\n")), "{out:?}");
        let again = place.run(&["plan", "submit", &file, "-o", "json"]).json();
        assert_eq!(
            (&again["unchanged"], &again["added"], &again["updated"]),
            (&json!(3), &json!(0), &json!(0)),
            "{again}"
        );
    }
    let there = place.run(&["plan", "export", "shop", "--to", "out.toml"]);
    assert_eq!(there.code, Some(5), "{there:?}");
    assert_eq!(place.run(&["plan", "export", "shop", "--to", "out.toml", "--force"]).code, Some(0));
    assert_eq!(place.run(&["plan", "export", "nothing"]).code, Some(3));
}

#[test]
fn tasks_json_has_what_is_known_of_each_task_and_comes_in_again() {
    let (place, _node) = place();
    let out = place.run(&["plan", "export", "shop", "--format", "tasks-json"]);
    assert_eq!(out.code, Some(0), "{out:?}");
    assert!(out.err.contains("`timeout` of T-2: tasks.json has no field for it"), "{out:?}");
    let list: Value = serde_json::from_str(&out.out).unwrap();
    let first = &list["tasks"][0];
    let wanted = json!({
        "id": "T-1", "title": "First", "status": "TODO", "assigned": "dev", "priority": "High",
        "created": "2026-01-01", "completed": null, "dependencies": [], "description": "Do it.",
        "acceptance_criteria": [{"id": 1, "description": "it works", "completed": false}],
        "technical_notes": "Use a file.", "blocked_reason": null, "branch": null, "attempts": 0, "commit": null,
        "merge_commit": null, "updated": first["updated"],
    });
    assert_eq!(first, &wanted);
    assert_eq!(list["metadata"]["project"], "shop");
    // What had no place is gone; all else is as it was.
    place.write("tasks.json", &out.out);
    place.write("bare.toml", &plan("shop", ""));
    let imported = place.run(&["plan", "import", "tasks.json", "--into", "bare.toml"]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let again = place.run(&["plan", "submit", "bare.toml", "-o", "json"]).json();
    assert_eq!((&again["unchanged"], &again["updated"]), (&json!(2), &json!(1)), "{again}");
}

#[test]
fn a_list_is_submitted_without_a_file() {
    let place = Place::new();
    let _node = Node::serve(&place.socket(), 0);
    place.write(
        "tasks.json",
        r#"{"tasks": [{"id": "a"}, {"id": "b", "dependencies": ["a"]}], "metadata": {"project": "shop"}}"#,
    );
    let ran = place.run(&["plan", "import", "tasks.json", "--submit", "--command", "make"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "plan 1 of shop: 2 added\n"), "{ran:?}");
    assert!(!place.dir.path().join("devstack.toml").exists());
    let tasks = place.run(&["task", "list", "-o", "json"]).json();
    assert_eq!(tasks["tasks"][1]["dependencies"], json!(["a"]));
}
