//! What a changed file requests, what is written back, and what another writer's version adds.

use std::collections::HashSet;

use devstack_dag::plan::Priority;

use super::{
    Live,
    json::Json,
    merge::{Agreed, Asked, Order, asked, carried, written},
    render,
};

fn live(id: &str, status: &str, version: u32) -> Live {
    Live {
        id: id.to_owned(),
        title: format!("Title of {id}"),
        prompt: "Do it.\n\n## Acceptance criteria\n\n- [ ] it works".to_owned(),
        priority: Priority::Medium,
        dependencies: Vec::new(),
        status: status.to_owned(),
        agent: (status != "TODO").then(|| "dev1".to_owned()),
        role: "dev".to_owned(),
        blocked_reason: (status == "BLOCKED").then(|| "attempts-exhausted".to_owned()),
        branch: None,
        attempts: u32::from(status != "TODO"),
        commit: None,
        merge_commit: None,
        created: "2026-01-01T00:00:00Z".to_owned(),
        updated: format!("2026-01-01T00:00:{version:02}Z"),
    }
}

/// A file and a project that agree.
fn agreeing(project: &[Live]) -> (Json, Agreed) {
    let file = render::document("shop", project, "2026-01-01");
    let mut agreed = Agreed::default();
    agreed.note(project, &project.iter().map(|live| live.id.clone()).collect());
    (file, agreed)
}

/// The file with another value in its first task.
fn with(file: &Json, key: &str, value: Json) -> Json {
    let mut file = file.clone();
    let Some(Json::List(tasks)) = file.get_mut("tasks") else { panic!("no tasks") };
    tasks[0].set(key, value);
    file
}

fn first(file: &Json, key: &str) -> Json {
    file.get("tasks").unwrap().items()[0].get(key).unwrap().clone()
}

fn orders(asked: &Asked) -> Vec<Order> {
    asked.orders.iter().map(|(_, order)| *order).collect()
}

#[test]
fn what_agrees_asks_for_nothing_and_stays_as_it_is() {
    let project = [live("a", "TODO", 1), live("b", "BLOCKED", 2), live("c", "COMPLETED", 3)];
    let (file, agreed) = agreeing(&project);
    assert_eq!(asked(&file, &agreed, &project), Asked::default());
    assert_eq!(asked(&file, &Agreed::default(), &project), Asked::default());
    assert_eq!(written(&file, &file, &agreed, &project, "2026-01-02").0, file);
}

#[test]
fn a_changed_status_is_a_command_where_it_can_only_mean_one() {
    let table = [
        ("BLOCKED", "TODO", Some(Order::Retry)),
        ("REVIEW", "APPROVED", Some(Order::Approve)),
        ("WIP", "REJECTED", Some(Order::Reject)),
        ("TODO", "WIP", None),
        ("TODO", "COMPLETED", None),
        ("WIP", "TODO", None),
        ("COMPLETED", "TODO", None),
        ("COMPLETED", "REJECTED", None),
        ("REJECTED", "TODO", None),
    ];
    for (is, wanted, order) in table {
        let project = [live("a", is, 1)];
        let (file, agreed) = agreeing(&project);
        let edited = with(&file, "status", Json::text(wanted));
        let asked = asked(&edited, &agreed, &project);
        assert_eq!(orders(&asked), Vec::from_iter(order), "{is} → {wanted}");
        assert_eq!(asked.refused.is_empty(), order.is_some(), "{is} → {wanted}: {:?}", asked.refused);
        // A refused status is reverted.
        let (back, _) = written(&edited, &edited, &agreed, &project, "2026-01-01");
        assert_eq!(first(&back, "status"), Json::text(is));
    }
}

#[test]
fn an_old_status_is_no_command() {
    // The task was TODO. Then the project progressed, and a writer replaced our version by its own old one.
    let before = [live("a", "TODO", 1)];
    let (old, mut agreed) = agreeing(&before);
    let now = [live("a", "BLOCKED", 2)];
    agreed.note(&now, &HashSet::from(["a".to_owned()]));
    assert_eq!(asked(&old, &agreed, &now), Asked::default(), "this was never BLOCKED → TODO");
    let (new, same) = written(&old, &old, &agreed, &now, "2026-01-02");
    assert_eq!((first(&new, "status"), same.len()), (Json::text("BLOCKED"), 1));
    let unmarked = with(&old, "updated", Json::Null);
    assert_eq!(asked(&unmarked, &agreed, &now), Asked::default(), "written before devstack marked it");
    // That writer's own changes still count.
    let edited = with(&with(&old, "description", Json::text("Do more.")), "status", Json::text("REJECTED"));
    assert_eq!(orders(&asked(&edited, &agreed, &now)), [Order::Reject]);
    let edited = with(&old, "description", Json::text("Do more."));
    let asked = asked(&edited, &agreed, &now);
    assert_eq!((asked.words.len(), asked.words[0].new), (1, false));
    assert!(asked.words[0].prompt.starts_with("Do more.\n\n## Acceptance criteria"), "{}", asked.words[0].prompt);
}

#[test]
fn words_go_to_the_project_while_it_can_take_them() {
    let project = [live("a", "TODO", 1)];
    let (file, agreed) = agreeing(&project);
    let edited = with(&with(&file, "priority", Json::text("High")), "title", Json::text("Other"));
    let asked_now = asked(&edited, &agreed, &project);
    assert_eq!((asked_now.words[0].title.as_str(), asked_now.words[0].priority), ("Other", Priority::High));
    let running = [live("a", "WIP", 2)];
    let late = asked(&edited, &agreed, &running);
    assert_eq!(late.words, []);
    assert!(late.refused[0].1.contains("so its texts cannot change"), "{:?}", late.refused);
    let (back, _) = written(&edited, &edited, &agreed, &running, "2026-01-02");
    assert_eq!((first(&back, "title"), first(&back, "priority")), (Json::text("Title of a"), Json::text("Medium")));
    // Agents tick boxes while they work: this is neither a request nor reverted.
    let ticked = Json::parse(r#"[{"id": 1, "description": "it works", "completed": true}]"#).unwrap();
    let ticked = with(&file, "acceptance_criteria", ticked);
    assert_eq!(asked(&ticked, &agreed, &running), Asked::default());
    let (kept, _) = written(&ticked, &ticked, &agreed, &running, "2026-01-02");
    assert_eq!(first(&kept, "acceptance_criteria"), first(&ticked, "acceptance_criteria"));
}

#[test]
fn both_sides_may_change_different_fields() {
    let (file, agreed) = agreeing(&[live("a", "TODO", 1)]);
    let project = [Live { title: "The project's".to_owned(), ..live("a", "TODO", 2) }];
    let edited = with(&file, "priority", Json::text("Low"));
    let both = asked(&edited, &agreed, &project);
    assert_eq!((both.words[0].title.as_str(), both.words[0].priority), ("The project's", Priority::Low));
    let same = asked(&with(&file, "title", Json::text("The file's")), &agreed, &project);
    assert_eq!((same.words.len(), same.refused.len()), (0, 1), "{same:?}");
}

#[test]
fn new_tasks_are_added_and_old_ones_stay() {
    let project = [live("a", "TODO", 1)];
    let (_, agreed) = agreeing(&project);
    let file = Json::parse(
        r#"{"tasks": [{"id": "old", "status": "COMPLETED"}, {"id": "n", "title": "New", "dependencies": ["old", "a"]}, {"id": "n"}]}"#,
    )
    .unwrap();
    let asked = asked(&file, &agreed, &project);
    assert_eq!((asked.words.len(), &asked.words[0].dependencies), (1, &vec!["a".to_owned()]));
    assert_eq!(asked.refused.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["n", "a"], "twice, and removed");
    let (new, _) = written(&file, &file, &agreed, &project, "2026-01-02");
    let ids: Vec<_> = new.get("tasks").unwrap().items().iter().map(|task| task.get("id").unwrap().clone()).collect();
    assert_eq!(ids, ["old", "n", "n", "a"].map(Json::text), "what is refused is there again");
    assert_eq!(new.get("metadata").unwrap().get("last_updated"), Some(&Json::text("2026-01-02")));
}

#[test]
fn what_changed_since_it_was_read_is_left_for_the_next_time() {
    let (read, agreed) = agreeing(&[live("a", "TODO", 1)]);
    let now = [live("a", "WIP", 2)];
    let edited = with(&read, "title", Json::text("Just now"));
    let (new, same) = written(&edited, &read, &agreed, &now, "2026-01-02");
    assert_eq!((new, same.len()), (edited, 0));
}

#[test]
fn what_the_file_says_beyond_tasks_is_not_touched() {
    let project = [live("a", "WIP", 1)];
    let text = r#"{"note": 1, "tasks": [{"estimate": [3, {"z": 1, "a": 2}], "id": "a", "title": "Title of a", "description": "Do it.", "acceptance_criteria": ["it works"], "assigned": "Dev9"}], "backlog": ["x"]}"#;
    let file = Json::parse(text).unwrap();
    let (new, _) = written(&file, &file, &Agreed::default(), &project, "2026-01-02");
    assert_eq!((new.get("note"), new.get("backlog")), (file.get("note"), file.get("backlog")));
    assert_eq!(first(&new, "estimate"), first(&file, "estimate"));
    assert_eq!(first(&new, "acceptance_criteria"), first(&file, "acceptance_criteria"), "in the file's own form");
    assert_eq!((first(&new, "assigned"), first(&new, "status")), (Json::text("dev1"), Json::text("WIP")));
    assert_eq!(new.fields()[0].0, "note");
}

#[test]
fn a_displaced_version_loses_nothing() {
    let parse = |text: &str| Json::parse(text).unwrap();
    let base =
        parse(r#"{"tasks": [{"id": "a", "status": "TODO", "title": "A"}, {"id": "b", "title": "B"}], "backlog": []}"#);
    let theirs = parse(
        r#"{"tasks": [{"id": "n"}, {"id": "a", "status": "TODO", "title": "A2", "x": 1}, {"id": "b", "title": "B2"}], "backlog": ["i"]}"#,
    );
    let ours = parse(
        r#"{"tasks": [{"id": "a", "status": "WIP", "title": "A"}, {"id": "b", "title": "B3"}, {"id": "o"}], "backlog": []}"#,
    );
    let merged = parse(
        r#"{"tasks": [{"id": "a", "status": "WIP", "title": "A2", "x": 1}, {"id": "b", "title": "B3"}, {"id": "o"}, {"id": "n"}], "backlog": ["i"]}"#,
    );
    assert_eq!(carried(&base, &theirs, &ours), merged);
    // Without a known base, missing tasks are added and nothing else changes.
    let empty = Json::Object(Vec::new());
    assert_eq!(
        carried(&empty, &parse(r#"{"tasks": [{"id": "a", "title": "Z"}, {"id": "n"}]}"#), &ours)
            .get("tasks")
            .unwrap()
            .items()
            .len(),
        4
    );
}
