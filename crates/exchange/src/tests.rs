//! The shapes of each format, hostile lists, and export followed by import.

use devstack_dag::plan::Priority;
use proptest::prelude::*;

use super::*;

fn taken(text: &str) -> Imported {
    read(text.as_bytes(), &Choice::default()).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"))
}

fn refused(text: &str) -> Vec<String> {
    let mistakes = read(text.as_bytes(), &Choice::default()).unwrap_err();
    mistakes.iter().map(|it| format!("{}: {}", it.line.unwrap_or_default(), it.message)).collect()
}

/// `id: dependencies`
fn graph(imported: &Imported) -> Vec<String> {
    let line = |task: &Task| {
        let needs: Vec<&str> = task.dependencies.iter().map(|id| id.as_str()).collect();
        format!("{}: {}", task.id, needs.join(" ")).trim_end().to_owned()
    };
    imported.tasks.iter().map(line).collect()
}

fn losses(imported: &Imported) -> Vec<String> {
    let line = |loss: &Loss| {
        let task = loss.task.as_deref().unwrap_or("-");
        format!("{} {task} {}: {}", loss.line.unwrap_or_default(), loss.field, loss.what)
    };
    imported.losses.as_slice().iter().map(line).collect()
}

#[test]
fn statuses_of_dev_stack_mean_what_they_mean() {
    let imported = taken(
        r#"{"tasks": [
{"id": "T-1", "title": "Done", "status": "COMPLETED"},
{"id": "T-2", "title": "Given up", "status": "REJECTED"},
{"id": "T-3", "title": "Works", "status": "WIP", "dependencies": ["T-1"]},
{"id": "T-4", "title": "Never", "status": "TODO", "dependencies": ["T-2", "T-3"]},
{"id": "T-5", "title": "Nor this", "status": "BLOCKED", "dependencies": ["T-4"]},
{"id": "T-6", "title": "Odd", "status": "PARKED", "dependencies": ["T-3", "T-3", "T-9"]}
]}"#,
    );
    assert_eq!(graph(&imported), ["T-3:", "T-6: T-3"]);
    assert_eq!(
        losses(&imported),
        [
            "4 T-3 status: WIP: the task starts again as TODO, from the integration branch",
            "6 T-5 status: BLOCKED: the task starts again as TODO, from the integration branch",
            "7 T-6 status: `PARKED` is not a status: imported as TODO",
            "2 T-1 status: COMPLETED: the task is left out",
            "3 T-2 status: REJECTED: the task is left out",
            "5 T-4 dependencies: depends on T-2, which is left out: this task is left out as well",
            "6 T-5 dependencies: depends on T-4, which is left out: this task is left out as well",
            "4 T-3 dependencies: T-1 is finished (COMPLETED): the dependency is dropped",
            "7 T-6 dependencies: T-9 is not in the list: the dependency is dropped",
        ]
    );
    let all = br#"{"tasks": [{"id": "a", "status": "COMPLETED"}, {"id": "b", "dependencies": ["a"]}]}"#;
    let all = read(all, &Choice { finished: true, ..Choice::default() }).unwrap();
    assert_eq!(graph(&all), ["a:", "b: a"]);
}

#[test]
fn subtasks_become_tasks_that_their_parent_waits_for() {
    let imported = taken(
        r#"{"tasks": [
{"id": 3, "title": "Before", "status": "pending"},
{"id": 5, "title": "Whole", "dependencies": [3], "priority": "high", "subtasks": [
  {"id": 1, "title": "One", "status": "pending"},
  {"id": 2, "title": "Two", "dependencies": [1]},
  {"id": "5.3", "title": "Three", "dependencies": ["5.2", 3, "3"]}
]},
{"id": "6", "title": "After", "dependencies": ["5.2", "5"]}
]}"#,
    );
    assert_eq!(imported.format, Format::TaskMaster);
    assert_eq!(graph(&imported), ["3:", "5-1: 3", "5-2: 5-1 3", "5-3: 5-2 3", "5: 3 5-1 5-2 5-3", "6: 5-2 5"]);
    assert!(imported.tasks[1..4].iter().all(|task| task.priority == Priority::High));
}

#[test]
fn a_list_with_several_tags_needs_one() {
    let text =
        r#"{"master": {"tasks": [{"id": 1}], "metadata": {"created": "x"}}, "feature-x": {"tasks": [{"id": 2}]}}"#;
    assert_eq!(refused(text), ["0: the list has several tags: master, feature-x"]);
    let of = |tag| read(text.as_bytes(), &Choice { tag: Some(tag), ..Choice::default() });
    let imported = of("feature-x").unwrap();
    assert_eq!((graph(&imported), imported.project.as_deref()), (vec!["2:".to_owned()], Some("feature-x")));
    assert!(losses(&imported)[0].contains("another tag"), "{:?}", losses(&imported));
    assert_eq!(of("other").unwrap_err()[0].message, "there is no tag `other`");
    assert_eq!(graph(&taken(r#"{"only": {"tasks": [{"id": 1}]}}"#)), ["1:"]);
    let untagged = read(br#"{"tasks": [{"id": 1}]}"#, &Choice { tag: Some("x"), ..Choice::default() });
    assert_eq!(untagged.unwrap_err()[0].hint.as_deref(), Some("leave out --tag"));
}

#[test]
fn beads_wait_in_three_shapes() {
    let imported = taken(concat!(
        r#"{"id":"bd-1","title":"First","status":"open","priority":0}"#,
        "\n",
        r#"{"id":"bd-1.1","title":"Edges","dependencies":[{"issue_id":"bd-1.1","depends_on_id":"bd-1","type":"blocks"},{"issue_id":"bd-1.1","depends_on_id":"bd-1","type":"parent-child"}]}"#,
        "\n\n",
        r#"{"id":"bd-2","title":"Issues","dependencies":[{"id":"bd-1","title":"First","dependency_type":"blocks"},{"id":"bd-1.1","dependency_type":"related"}]}"#,
        "\n",
        r#"{"id":"bd-3","title":"Ids","dependencies":["bd-1"],"depends_on":["bd-2"],"blocked_by":"bd-1.1"}"#,
        "\n",
        r#"{"id":"bd-4","title":"Closed","status":"closed"}"#,
        "\n",
        r#"{"id":"bd-5","title":"Away","status":"tombstone"}"#,
        "\n",
        r#"{"id":"bd-6","title":"Lines of their own","priority":4,"dependencies":["bd-4","bd-5"]}"#,
        "\n",
        r#"{"issue_id":"bd-6","depends_on_id":"bd-3","type":"blocks"}"#,
        "\n",
        r#"{"issue_id":"bd-6","depends_on_id":"bd-2","type":"discovered-from"}"#,
        "\n",
    ));
    assert_eq!(imported.format, Format::Beads);
    assert_eq!(graph(&imported), ["bd-1:", "bd-1-1: bd-1", "bd-2: bd-1", "bd-3: bd-1 bd-2 bd-1-1", "bd-6: bd-3"]);
    let priorities: Vec<Priority> = imported.tasks.iter().map(|task| task.priority).collect();
    assert_eq!((priorities[0], priorities[1], priorities[4]), (Priority::Critical, Priority::Medium, Priority::Low));
    let told = losses(&imported).join("\n");
    for loss in [
        "2 bd-1.1 dependencies: `parent-child` with bd-1 does not block: left out",
        "4 bd-2 dependencies: `related` with bd-1.1 does not block: left out",
        "10 bd-6 dependencies: `discovered-from` with bd-2 does not block: left out",
        "2 bd-1.1 id: not a valid task id: imported as `bd-1-1`",
    ] {
        assert!(told.contains(loss), "{loss}\n{told}");
    }
}

#[test]
fn texts_of_every_tool_reach_the_prompt() {
    let beads = taken(
        r#"{"id":"a","title":"T","description":"D","design":"How","acceptance_criteria":"- [x] one\n- two\n  more\n3. three","notes":"N"}"#,
    );
    let wanted = "D\n\n## Acceptance criteria\n\n- [x] one\n- [ ] two\n  more\n- [ ] three\n\n## Technical notes\n\n### Design\n\nHow\n\n### Notes\n\nN";
    assert_eq!(beads.tasks[0].prompt, wanted);
    let task_master = taken(r#"{"tasks":[{"id":1,"title":"T","description":"D","details":"How","testStrategy":"S"}]}"#);
    assert_eq!(task_master.tasks[0].prompt, "D\n\n## Technical notes\n\nHow\n\n### Test strategy\n\nS");
    let dev_stack =
        taken(r#"{"tasks":[{"id":"a","description":"D","acceptance_criteria":["c"],"technical_notes":["x","y"]}]}"#);
    assert_eq!(dev_stack.tasks[0].prompt, "D\n\n## Acceptance criteria\n\n- [ ] c\n\n## Technical notes\n\n- x\n- y");
    assert_eq!(dev_stack.tasks[0].title, "a");
}

#[test]
fn a_title_that_does_not_fit_is_whole_in_the_prompt() {
    let long = "ä".repeat(200);
    let imported = taken(&format!(
        r#"{{"tasks":[{{"id":"a","title":"{long}","description":"D"}},{{"id":"b","title":" x\ny "}}]}}"#
    ));
    let task = &imported.tasks[0];
    assert!(task.title.len() <= 256 && task.title.ends_with("ä…"), "{}", task.title);
    assert_eq!(task.prompt, format!("{long}\n\nD"));
    assert_eq!(imported.tasks[1].title, "x y");
}

#[test]
fn mistakes_are_told_with_their_lines() {
    assert_eq!(refused("{\"tasks\": [\n{\"id\": \"a\"},\n{\"id\": \"a\"}]}"), ["3: duplicate id `a`, first on line 2"]);
    assert_eq!(
        refused("{\"tasks\": [\n{\"title\": \"a\"},\n7]}"),
        ["2: a task has no `id`", "3: a task must be an object"]
    );
    assert_eq!(
        refused(
            "{\"tasks\": [\n{\"id\": \"a\", \"dependencies\": [\"c\"]},\n{\"id\": \"b\", \"dependencies\": [\"a\"]},\n{\"id\": \"c\", \"dependencies\": [\"b\"]}]}"
        ),
        ["2: these tasks wait for each other: a → c → b → a"]
    );
    assert_eq!(
        refused("{\"tasks\": [{\"id\": \"a\", \"dependencies\": [\"a\"]}]}"),
        ["1: these tasks wait for each other: a → a"]
    );
    assert_eq!(refused("{\"tasks\": 7}"), ["1: `tasks` must be a list"]);
    assert_eq!(refused("{\"tasks\": [\n{\"id\": ]}"), ["2: this is not valid: expected value"]);
    assert_eq!(
        refused("{\"id\":\"a\"}\n{\"id\":\n{\"id\":\"c\"}"),
        ["2: this is not valid: EOF while parsing a value"]
    );
    assert_eq!(refused("{}"), ["1: the format of this task list is unknown"]);
    assert_eq!(refused("7"), ["1: this is not valid: invalid type: integer `7`, expected an object"]);
    let not_utf8 = read(b"{\n\"tasks\": [\"\xff\"]}", &Choice::default()).unwrap_err();
    assert_eq!((not_utf8[0].line, not_utf8[0].message.as_str()), (Some(2), "this is not UTF-8 text"));
}

#[test]
fn hostile_lists_end_in_an_answer() {
    let deep = |key: &str| {
        format!("{{\"tasks\": [{{\"id\": \"a\", \"{key}\": {}{}}}]}}", "[".repeat(100_000), "]".repeat(100_000))
    };
    for key in ["x", "title", "acceptance_criteria", "dependencies", "status"] {
        let imported = taken(&deep(key));
        assert_eq!((graph(&imported), imported.losses.as_slice().is_empty()), (vec!["a:".to_owned()], false), "{key}");
    }
    assert_eq!(refused(&deep("subtasks")), ["1: a task must be an object"]);
    // A number out of range is no reason to refuse the rest.
    let huge = taken(r#"{"tasks": [{"id": 1e999, "title": "x", "priority": 99999999999999999999}]}"#);
    assert_eq!(graph(&huge), ["1e999:"]);
    let long = format!("{{\"tasks\": [{{\"id\": \"{}\"}}]}}", "x".repeat(1 << 20));
    assert_eq!(taken(&long).tasks[0].id.as_str().len(), 64);
    let mut chain = String::from("{\"tasks\": [");
    for number in 0..20_000 {
        let comma = if number > 0 { "," } else { "" };
        chain.push_str(&format!("{comma}{{\"id\": \"T-{number}\", \"dependencies\": [\"T-{}\"]}}", number + 1));
    }
    assert_eq!(taken(&format!("{chain}]}}")).tasks.len(), 20_000);
    let fields: String = (0..20_000).map(|number| format!(", \"x{number}\": 1")).collect();
    let lost = taken(&format!("{{\"tasks\": [{{\"id\": \"a\"{fields}}}]}}")).losses;
    assert_eq!((lost.as_slice().len(), lost.more), (Losses::KEPT, 10_000));
}

#[test]
fn a_backlog_is_kept_apart() {
    let text = r#"{"tasks": [{"id": "T-1"}, {"id": "T-2", "dependencies": ["T-9"]}],
"backlog": ["Add logging\nsoon", {"id": "T-9", "title": "Later"}, 7], "metadata": {"project": "shop", "last_updated": "x"}}"#;
    let imported = taken(text);
    assert_eq!((graph(&imported), imported.project.as_deref()), (vec!["T-1:".to_owned()], Some("shop")));
    assert_eq!(imported.ideas, ["Add logging", "T-9: Later"]);
    let all = read(text.as_bytes(), &Choice { backlog: true, ..Choice::default() }).unwrap();
    assert_eq!(graph(&all), ["T-1:", "T-2: T-9", "B-001:", "T-9:"]);
    assert_eq!((all.tasks[2].priority, all.tasks[2].prompt.as_str()), (Priority::Low, "Add logging\nsoon"));
}

fn live() -> impl Strategy<Value = Vec<Live>> {
    let priority =
        prop_oneof![Just(Priority::Critical), Just(Priority::High), Just(Priority::Medium), Just(Priority::Low)];
    let text = "(\\PC|[\n\"\\\\]|## Technical notes|## Acceptance criteria\n\n- \\[ \\] x){0,12}";
    let one = ("[!-~][ -~]{0,20}[!-~]", text, priority, any::<[bool; 3]>());
    proptest::collection::vec(one, 1..6).prop_map(|tasks| {
        let live = |(at, (title, prompt, priority, needs)): (usize, (String, String, Priority, [bool; 3]))| Live {
            id: format!("T-{at}"),
            title,
            prompt,
            priority,
            dependencies: (0..at).zip(needs).filter(|(_, need)| *need).map(|(other, _)| format!("T-{other}")).collect(),
            status: "TODO".to_owned(),
            agent: None,
            role: "dev".to_owned(),
            blocked_reason: None,
            branch: None,
            attempts: 0,
            commit: None,
            merge_commit: None,
            created: "2026-01-01T00:00:00Z".to_owned(),
            updated: "2026-01-01T00:00:00Z".to_owned(),
        };
        tasks.into_iter().enumerate().map(live).collect()
    })
}

proptest! {
    #[test]
    fn what_goes_out_comes_in_the_same(tasks in live()) {
        let imported = taken(&document("shop", &tasks, "2026-01-01").pretty());
        prop_assert_eq!(imported.project.as_deref(), Some("shop"));
        prop_assert_eq!(imported.tasks.len(), tasks.len());
        for (task, live) in imported.tasks.iter().zip(&tasks) {
            prop_assert_eq!((task.id.as_str(), &task.title, &task.prompt), (live.id.as_str(), &live.title, &live.prompt));
            prop_assert_eq!((task.priority, task.assigned.as_deref()), (live.priority, Some("dev")));
            let needs: Vec<String> = task.dependencies.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&needs, &live.dependencies);
        }
    }

    #[test]
    fn no_text_panics(text in "(\\PC|[\\[\\]\"{}:,\n]|\"id\"|\"tasks\"|\"dependencies\"|\"subtasks\"|\"a\"|1){0,60}") {
        let _ = read(text.as_bytes(), &Choice::default());
        for format in [Format::DevStack, Format::TaskMaster, Format::Beads] {
            let _ = read(text.as_bytes(), &Choice { format: Some(format), finished: true, backlog: true, tag: None });
        }
    }
}
