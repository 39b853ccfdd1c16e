//! Checks, review and the merge queue.

use devstack_dag::{
    Answer,
    attempt::Outcome,
    command::{Command, Job},
    effect::Timer,
    ids::{MergeId, Text},
    plan::{PlanSpec, Priority, Review},
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

#[test]
fn a_result_is_merged_proven_and_then_completed() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), task("b", &["a"])]), 2);
    assert_eq!(desk.done("a", 5), ["forget a/1", "prepare a/1"]);
    assert_eq!(desk.status("a"), Status::Approved);
    assert_eq!(desk.prepared("a", 1, 1, 6), ["publish 1 1->6"]);
    // The proof comes first, the status second; the dependent starts on the merge.
    assert_eq!(desk.status("a"), Status::Approved);
    assert_eq!(desk.landed(1, 6), ["deliver", "start b/1 dev1@h"]);
    assert_eq!((desk.status("a"), desk.task("a").merge_commit), (Status::Completed, Some(commit(6))));
    assert_eq!(desk.start("b"), "6..6");
    assert_eq!(desk.task("a").delivered_at, None);
    desk.act(Command::Delivered { project: project_name("p"), head: commit(6) });
    assert!(desk.task("a").delivered_at.is_some());
}

#[test]
fn one_merge_at_a_time_and_the_next_is_prepared_in_the_step_that_lands_one() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), task("b", &[])]), 2);
    desk.done("a", 5);
    assert_eq!(desk.done("b", 7), ["forget b/1"]);
    desk.prepared("a", 1, 1, 6);
    assert_eq!(desk.landed(1, 6), ["deliver", "prepare b/1"]);
    assert_eq!(desk.prepared("b", 1, 6, 8), ["publish 2 6->8"]);
    assert_eq!(desk.landed(2, 8), ["deliver"]);
    // Repeated and late reports change nothing.
    assert_eq!(desk.landed(2, 8), [""; 0]);
    assert_eq!(desk.answer(), Answer::Unchanged);
    assert_eq!(desk.prepared("b", 1, 6, 9), [""; 0]);
}

#[test]
fn the_front_stays_the_front_and_then_priority_and_age_decide() {
    let mut urgent = task("urgent", &[]);
    urgent.priority = Priority::Critical;
    let mut plan = repo_plan(vec![task("a", &[]), task("b", &[]), urgent]);
    plan.project.roles[0].count = 3;
    let (mut desk, _) = Desk::new(plan, 3);
    desk.done("b", 5);
    desk.done("a", 6);
    desk.done("urgent", 7);
    let queue = desk.engine.merge_queue(&project_name("p"));
    assert_eq!(queue.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["b", "urgent", "a"]);
}

#[test]
fn a_lost_merge_is_prepared_again_on_the_head_that_was_found() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    assert_eq!(desk.lost(1, 2), ["prepare a/1"]);
    assert_eq!(desk.prepared("a", 1, 2, 7), ["publish 2 2->7"]);
    desk.landed(2, 7);
    assert_eq!(desk.task("a").merge_commit, Some(commit(7)));
}

#[test]
fn checks_run_on_the_merge_and_the_tested_merge_is_published() {
    let (mut desk, _) = Desk::new(checked(&["a"]), 1);
    assert_eq!(desk.done("a", 5), ["forget a/1", "prepare a/1"]);
    assert_eq!(desk.status("a"), Status::Testing);
    assert_eq!(desk.prepared("a", 1, 1, 6), ["check a/2 dev1@h"]);
    assert_eq!(desk.start("a"), "1..6");
    assert_eq!(desk.passes("a"), ["forget a/2", "publish 1 1->6"]);
}

#[test]
fn a_head_that_moved_after_the_test_means_another_test() {
    let (mut desk, _) = Desk::new(checked(&["a", "b"]), 2);
    desk.done("a", 5);
    desk.done("b", 7);
    desk.prepared("a", 1, 1, 6);
    desk.prepared("b", 1, 1, 8);
    desk.passes("a");
    assert_eq!(desk.passes("b"), ["forget b/2"]);
    assert_eq!(desk.landed(1, 6), ["deliver", "prepare b/1"]);
    assert_eq!(desk.status("b"), Status::Approved);
    assert_eq!(desk.prepared("b", 1, 6, 9), ["check b/3 dev1@h"]);
    assert_eq!(desk.status("b"), Status::Testing);
    assert_eq!(desk.passes("b"), ["forget b/3", "publish 2 6->9"]);
}

#[test]
fn failed_checks_are_charged_and_the_next_attempt_sees_the_merged_tree() {
    let (mut desk, _) = Desk::new(checked(&["a"]), 1);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    assert_eq!(desk.fails("a"), ["forget a/2", "backoff a/2 1000"]);
    assert_eq!((desk.status("a"), desk.task("a").charged), (Status::Todo, 1));
    assert_eq!(desk.backoff_over("a"), ["start a/3 dev1@h"]);
    assert_eq!(desk.start("a"), "1..6");
    desk.fails("a");
    desk.backoff_over("a");
    desk.done("a", 7);
    desk.prepared("a", 4, 1, 8);
    desk.fails("a");
    assert_eq!(desk.blocked("a"), "merge-check-failed");
}

#[test]
fn an_uncharged_end_of_a_check_repeats_the_check() {
    let (mut desk, _) = Desk::new(checked(&["a"]), 1);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    assert_eq!(desk.ends("a", Outcome::Exited(75), None), ["forget a/2", "backoff a/2 1000"]);
    assert_eq!(desk.status("a"), Status::Testing);
    assert_eq!(desk.backoff_over("a"), ["check a/3 dev1@h"]);
}

#[test]
fn a_person_reviews_once() {
    let mut plan = checked(&["a"]);
    plan.project.review = Review::Human;
    let (mut desk, _) = Desk::new(plan, 1);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    assert_eq!(desk.passes("a"), ["forget a/2"]);
    assert_eq!(desk.status("a"), Status::Review);
    let message = Text::Inline("rename it".into());
    assert_eq!(desk.act(Command::RequestChanges { task: task_ref("a"), message }), ["start a/3 dev1@h"]);
    desk.done("a", 7);
    desk.prepared("a", 3, 1, 8);
    desk.passes("a");
    desk.act(Command::HeadMoved { project: project_name("p"), head: commit(2) });
    assert_eq!(desk.act(Command::ApproveTask(task_ref("a"))), ["prepare a/3"]);
    assert_eq!(desk.prepared("a", 3, 2, 9), ["check a/5 dev1@h"]);
    // Tested again on the new head, but not reviewed again.
    assert_eq!(desk.passes("a"), ["forget a/5", "publish 1 2->9"]);
    assert_eq!(desk.refused(Command::ApproveTask(task_ref("a"))), "DS0216");
}

#[test]
fn between_intent_and_outcome_the_task_is_left_alone() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), task("b", &[])]), 2);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    let a = task_ref("a");
    assert_eq!(desk.refused(Command::RetryTask { task: a.clone(), message: None }), "DS0210");
    assert_eq!(desk.refused(Command::RejectTask { task: a.clone(), reason: "no".into() }), "DS0210");
    desk.act(Command::CancelPlan { project: project_name("p"), plan: None });
    assert_eq!(desk.answer(), Answer::Cancelled { rejected: 1, merging: vec![a] });
    desk.landed(1, 6);
    assert_eq!((desk.status("a"), desk.status("b")), (Status::Completed, Status::Rejected));
}

#[test]
fn a_refused_result_blocks_the_task() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    desk.done("a", 5);
    desk.act(Command::MergeRefused { attempt: attempt_id("a", 1), reason: "a/.git/config".into() });
    assert_eq!(desk.blocked("a"), "policy");
    desk.act(Command::RetryTask { task: task_ref("a"), message: None });
    assert_eq!(desk.start("a"), "1..1", "what was refused is not continued");
}

#[test]
fn a_failed_job_is_asked_again_and_never_charged() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    desk.done("a", 5);
    let job = Job::Prepare(attempt_id("a", 1));
    let failed = Command::JobFailed { job: job.clone(), reason: "disk full".into() };
    assert_eq!(desk.act(failed.clone()), ["again prepare a/1 1000"]);
    assert_eq!(desk.act(failed.clone()), [""; 0], "its timer runs already");
    assert!(desk.engine.explain(&task_ref("a")).unwrap().contains("disk full"));
    assert_eq!(desk.act(Command::TimerFired(Timer::Retry(job.clone()))), ["prepare a/1"]);
    assert_eq!(desk.act(Command::TimerFired(Timer::Retry(job.clone()))), [""; 0]);
    assert_eq!(desk.act(failed), ["again prepare a/1 2000"]);
    desk.act(Command::TimerFired(Timer::Retry(job)));
    desk.prepared("a", 1, 1, 6);
    let job = Job::Publish(project_name("p"), MergeId(1));
    assert_eq!(desk.act(Command::JobFailed { job, reason: "disk full".into() }), ["again publish 1 1000"]);
    assert_eq!(desk.task("a").charged, 0);
}

#[test]
fn a_head_never_goes_back() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    let moved = |head| Command::HeadMoved { project: project_name("p"), head: commit(head) };
    assert_eq!(desk.act(moved(2)), ["deliver"]);
    assert_eq!(desk.act(moved(1)), [""; 0]);
    assert_eq!(desk.engine.project(&project_name("p")).unwrap().head, Some(commit(2)));
}

#[test]
fn delivery_waits_for_a_person_and_is_tried_again() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    let blocked = Command::DeliveryBlocked { project: project_name("p"), reason: "`dev` is checked out".into() };
    desk.act(blocked);
    assert!(desk.engine.waiting(None)[0].why.contains("checked out"));
    assert_eq!(desk.act(Command::ResumeProject(project_name("p"))), ["deliver"]);
}

#[test]
fn a_merge_proven_by_a_head_that_was_delivered_already_is_delivered() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    // The swap happened and a sync merge came on top, but both are reported before the proof.
    desk.act(Command::HeadMoved { project: project_name("p"), head: commit(7) });
    let delivered = || Command::Delivered { project: project_name("p"), head: commit(7) };
    desk.act(delivered());
    assert_eq!(desk.landed(1, 7), ["deliver"]);
    desk.act(delivered());
    assert!(desk.task("a").delivered_at.is_some());
    desk.act(delivered());
    assert_eq!(desk.answer(), Answer::Unchanged);
}
