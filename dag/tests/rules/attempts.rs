//! Scheduling and what the end of an attempt means.

use devstack_dag::{
    Answer, Config, Engine,
    attempt::Outcome,
    command::{Command, HostReport},
    ids::Text,
    plan::{Priority, RetryFrom},
    record::Status,
};

use crate::{
    common::{attempt_id, commit, host_name, plan, repo_plan, role, task, task_ref},
    desk::Desk,
};

#[test]
fn a_completion_frees_dependents_and_starts_them_in_the_same_step() {
    let (mut desk, effects) = Desk::new(plan(vec![task("b", &["a"]), task("a", &[]), task("c", &["a"])]), 2);
    assert_eq!(effects, ["start a/1 dev1@h"]);
    assert_eq!(desk.passes("a"), ["forget a/1", "start b/1 dev1@h", "start c/1 dev2@h"]);
    assert_eq!(desk.status("a"), Status::Completed);
    assert_eq!(desk.status("b"), Status::Wip);
}

#[test]
fn the_order_is_priority_then_longest_path_then_age() {
    let mut urgent = task("urgent", &[]);
    urgent.priority = Priority::Critical;
    let tasks = vec![task("old", &[]), task("long", &[]), task("after", &["long"]), urgent];
    let (mut desk, effects) = Desk::new(plan(tasks), 1);
    assert_eq!(effects, ["start urgent/1 dev1@h"]);
    assert_eq!(desk.passes("urgent"), ["forget urgent/1", "start long/1 dev1@h"]);
    assert_eq!(desk.passes("long"), ["forget long/1", "start old/1 dev1@h"]);
}

#[test]
fn a_role_fills_no_more_slots_than_its_count_and_agents_have_the_lowest_free_name() {
    let tasks = ["a", "b", "c", "d"].map(|id| task(id, &[])).to_vec();
    let (mut desk, effects) = Desk::new(plan(tasks), 9);
    assert_eq!(effects, ["start a/1 dev1@h", "start b/1 dev2@h"]);
    assert_eq!(desk.passes("a"), ["forget a/1", "start c/1 dev1@h"]);
}

#[test]
fn agents_of_similar_roles_never_share_a_name() {
    // Roles `dev` and `dev1`: dev's eleventh agent and dev1's first would both be `dev11`.
    let mut many = plan((0..13).map(|n| task(&format!("t{n}"), &[])).collect());
    many.project.roles = vec![role("dev", 12), role("dev1", 1)];
    many.tasks[0].executor = devstack_dag::plan::Executor::Agent("dev1".parse().unwrap());
    let (_, effects) = Desk::new(many, 20);
    assert_eq!(effects.len(), 13);
    let names: std::collections::HashSet<&str> = effects.iter().map(|e| e.split(' ').nth(2).unwrap()).collect();
    assert_eq!(names.len(), 13, "{effects:?}");
}

#[test]
fn a_failure_is_charged_with_backoff_and_feedback_until_the_budget_is_used_up() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    assert_eq!(desk.fails("a"), ["forget a/1", "backoff a/1 1000"]);
    assert_eq!((desk.status("a"), desk.task("a").charged), (Status::Todo, 1));
    let Text::Inline(said) = &desk.task("a").feedback[0].text else { panic!("not inline") };
    assert!(said.contains("exit code 1") && said.ends_with("last words"), "{said}");
    assert_eq!(desk.backoff_over("a"), ["start a/2 dev1@h"]);
    assert_eq!(desk.ends("a", Outcome::TimedOut, None), ["forget a/2", "backoff a/2 2000"]);
    desk.backoff_over("a");
    assert_eq!(desk.ends("a", Outcome::OutOfMemory, None), ["forget a/3"]);
    assert_eq!(desk.blocked("a"), "attempts-exhausted");
    let retry = Command::RetryTask { task: task_ref("a"), message: Some(Text::Inline("try harder".into())) };
    assert_eq!(desk.act(retry), ["start a/4 dev1@h"]);
    assert_eq!((desk.task("a").charged, desk.task("a").feedback.last().unwrap().attempt), (0, 0));
}

#[test]
fn uncharged_returns_have_a_cap_of_their_own() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    for n in 1..5 {
        let outcome = if n % 2 == 0 { Outcome::Exited(75) } else { Outcome::Infrastructure("gone".into()) };
        assert_eq!(desk.ends("a", outcome, None), [format!("forget a/{n}"), format!("backoff a/{n} {}", 500 << n)]);
        assert_eq!((desk.task("a").charged, desk.task("a").uncharged), (0, n));
        desk.backoff_over("a");
    }
    desk.ends("a", Outcome::Exited(75), None);
    assert_eq!(desk.blocked("a"), "needs-human");
    assert_eq!(desk.task("a").feedback, []);
}

#[test]
fn a_charged_end_resets_the_uncharged_row() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    desk.ends("a", Outcome::Exited(75), None);
    desk.backoff_over("a");
    desk.fails("a");
    assert_eq!((desk.task("a").charged, desk.task("a").uncharged), (1, 0));
}

#[test]
fn only_the_newest_attempt_is_valid() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    desk.fails("a");
    desk.backoff_over("a");
    let before: Vec<_> = desk.engine.records().collect();
    assert_eq!(desk.attempt_ends("a", 1, Outcome::Exited(0), None), ["forget a/1"]);
    assert_eq!(desk.answer(), Answer::Fenced);
    assert_eq!(desk.engine.records().collect::<Vec<_>>(), before);
    desk.passes("a");
    // A doubled report is acknowledged again and changes nothing.
    assert_eq!(desk.passes("a"), ["forget a/1".replace("/1", "/2")]);
    assert_eq!(desk.answer(), Answer::Fenced);
}

#[test]
fn an_attempt_that_changes_nothing_is_charged_unless_that_is_allowed() {
    let mut free = task("free", &[]);
    free.allow_empty = true;
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), free]), 2);
    assert_eq!(desk.passes("a"), ["forget a/1", "backoff a/1 1000"]);
    let Text::Inline(said) = &desk.task("a").feedback[0].text else { panic!("not inline") };
    assert!(said.contains("changed nothing"), "{said}");
    assert_eq!(desk.passes("free"), ["forget free/1"]);
    assert_eq!(desk.status("free"), Status::Completed);
}

#[test]
fn a_finding_of_the_policy_blocks_at_once() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    assert_eq!(desk.ends("a", Outcome::Policy("a secret".into()), None), ["forget a/1"]);
    assert_eq!((desk.blocked("a"), desk.task("a").charged), ("policy", 0));
}

#[test]
fn a_retry_continues_from_the_last_commit_on_its_own_base_or_afresh() {
    let mut fresh = task("fresh", &[]);
    fresh.retry_from = RetryFrom::Fresh;
    let (mut desk, _) = Desk::new(repo_plan(vec![task("last", &[]), fresh]), 2);
    assert_eq!(desk.start("last"), "1..1");
    for id in ["last", "fresh"] {
        desk.ends(id, Outcome::Exited(1), Some(commit(7)));
    }
    desk.act(Command::HeadMoved { project: "p".parse().unwrap(), head: commit(2) });
    desk.backoff_over("last");
    desk.backoff_over("fresh");
    assert_eq!((desk.start("last"), desk.start("fresh")), ("1..7".into(), "2..2".into()));
}

#[test]
fn history_is_bounded() {
    let mut endless = task("a", &[]);
    endless.attempts = 100;
    let (mut desk, _) = Desk::new(repo_plan(vec![endless]), 1);
    desk.ends("a", Outcome::Exited(1), Some(commit(7)));
    for _ in 0..40 {
        desk.backoff_over("a");
        desk.fails("a");
    }
    let kept = desk.engine.attempts(&task_ref("a"));
    assert_eq!((kept.len(), kept[0].attempt.number), (22, 1), "the one with the commit stays");
    assert!(desk.task("a").feedback.len() <= 5);
    desk.backoff_over("a");
    assert_eq!(desk.start("a"), "1..7");
}

#[test]
fn after_a_restore_no_number_is_given_that_may_have_been_given_before() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &["a"])]), 1);
    let config = Config { attempts_behind: 5000, ..Config::default() };
    desk.engine = Engine::from_records(config, desk.engine.records()).unwrap();
    // What ran goes on under its number; what it left behind in the lost time is nobody's.
    let held = [1, 2].map(|number| attempt_id("a", number)).to_vec();
    let report = HostReport { attempts: held, ..HostReport::new(host_name("h"), 1) };
    let effects = desk.act(Command::ReportHost(report));
    assert_eq!(effects, ["stop a/2", "forget a/2", "start a/1 dev1@h"]);
    assert_eq!(desk.passes("a"), ["forget a/1", "start b/5001 dev1@h"]);
    assert_eq!(desk.fails("b"), ["forget b/5001", "backoff b/5001 1000"]);
    assert_eq!(desk.backoff_over("b"), ["start b/5002 dev1@h"]);
}
