//! Results that a human must review, whatever the project says about reviews.

use devstack_dag::{
    attempt::{Outcome, Report},
    command::Command,
    ids::Text,
    plan::PlanSpec,
    record::Status,
};

use crate::{
    common::{attempt_id, commit, project_name, repo_plan, task, task_ref},
    desk::Desk,
};

fn checked(ids: &[&str]) -> PlanSpec {
    let mut plan = repo_plan(ids.iter().map(|id| task(id, &[])).collect());
    plan.project.checks = vec!["make test".into()];
    plan
}

/// The newest attempt exits 0 with this commit, which is held.
fn held(desk: &mut Desk, id: &str, result: u64, why: &str) -> Vec<String> {
    let attempt = attempt_id(id, desk.task(id).attempts);
    let report = Report::new(attempt, Outcome::Exited(0));
    desk.reports(Report { commit: Some(commit(result)), held: Some(why.into()), ..report })
}

fn why(desk: &Desk, id: &str) -> Option<String> {
    desk.task(id).held.map(|why| why.to_string())
}

#[test]
fn a_held_result_waits_for_a_person_after_its_checks_and_is_reviewed_once() {
    let (mut desk, _) = Desk::new(checked(&["a"]), 1);
    assert_eq!(held(&mut desk, "a", 5, "it changes CI"), ["forget a/1", "prepare a/1"]);
    assert_eq!(desk.prepared("a", 1, 1, 6), ["check a/2 dev1@h"]);
    assert_eq!(desk.passes("a"), ["forget a/2"]);
    assert_eq!((desk.status("a"), why(&desk, "a").as_deref()), (Status::Review, Some("it changes CI")));
    assert!(desk.engine.explain(&task_ref("a")).unwrap().contains("needs a human decision: it changes CI"));
    let waiting = desk.engine.waiting(None);
    assert!(waiting.iter().any(|it| it.why.contains("it changes CI")), "{waiting:?}");
    desk.act(Command::HeadMoved { project: project_name("p"), head: commit(2) });
    assert_eq!(desk.act(Command::ApproveTask(task_ref("a"))), ["prepare a/1"]);
    assert_eq!(why(&desk, "a"), None);
    assert_eq!(desk.prepared("a", 1, 2, 9), ["check a/3 dev1@h"]);
    assert_eq!(desk.passes("a"), ["forget a/3", "publish 1 2->9"], "nobody reviews twice");
}

#[test]
fn without_checks_a_held_result_goes_to_review_at_once() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    assert_eq!(held(&mut desk, "a", 5, "w"), ["forget a/1"]);
    assert_eq!(desk.status("a"), Status::Review);
    assert_eq!(desk.act(Command::ApproveTask(task_ref("a"))), ["prepare a/1"]);
}

#[test]
fn another_result_another_judgement() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    held(&mut desk, "a", 5, "w");
    let message = Text::Inline("leave CI alone".into());
    assert_eq!(desk.act(Command::RequestChanges { task: task_ref("a"), message }), ["start a/2 dev1@h"]);
    assert_eq!(why(&desk, "a"), None, "a retry clears it");
    assert_eq!(desk.task("a").feedback.last().unwrap().attempt, 0, "a person's words are a person's");
    assert_eq!(desk.done("a", 7), ["forget a/2", "prepare a/2"]);
    assert_eq!(desk.status("a"), Status::Approved);
}

#[test]
fn a_retry_of_a_blocked_task_clears_it() {
    let mut plan = checked(&["a"]);
    plan.tasks[0].attempts = 1;
    let (mut desk, _) = Desk::new(plan, 1);
    held(&mut desk, "a", 5, "w");
    desk.prepared("a", 1, 1, 6);
    desk.fails("a");
    assert_eq!((desk.blocked("a"), why(&desk, "a").as_deref()), ("merge-check-failed", Some("w")));
    desk.act(Command::RetryTask { task: task_ref("a"), message: None });
    assert_eq!(why(&desk, "a"), None);
}

#[test]
fn a_resolution_may_what_its_blocked_task_may() {
    let mut plan = repo_plan(vec![task("a", &[])]);
    plan.project.resolver = Some(plan.project.roles[0].name.clone());
    (plan.tasks[0].may_change, plan.tasks[0].mass_delete) = ([".github/**".into()].into(), true);
    let (mut desk, _) = Desk::new(plan, 1);
    desk.done("a", 5);
    desk.conflicts("a", 1);
    let resolution = desk.task("a-resolve-1").spec;
    assert_eq!((resolution.may_change.len(), resolution.mass_delete), (1, true));
}
