//! Scheduling and what the end of an attempt means.

use devstack_dag::{
    Answer, Config, Engine,
    attempt::{Branch, Left, Outcome, Report, Skipped, Start},
    command::{Command, HostReport},
    ids::Text,
    plan::{Priority, RetryFrom},
    record::Status,
};

use crate::{
    common::{attempt_id, commit, host_name, plan, repo_plan, role, task, task_ref},
    desk::{Desk, HEAD},
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
        assert_eq!((desk.task("a").charged, desk.task("a").uncharged), (0, 20 * n));
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
    // A repeated report is acknowledged again and changes nothing.
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
    // Running attempts keep their number; leftovers from the lost time belong to nobody.
    let held = [1, 2].map(|number| attempt_id("a", number)).to_vec();
    let report = HostReport { attempts: held, ..HostReport::new(host_name("h"), 1) };
    let effects = desk.act(Command::ReportHost(report));
    assert_eq!(effects, ["stop a/2", "forget a/2", "start a/1 dev1@h"]);
    assert_eq!(desk.passes("a"), ["forget a/1", "start b/5001 dev1@h"]);
    assert_eq!(desk.fails("b"), ["forget b/5001", "backoff b/5001 1000"]);
    assert_eq!(desk.backoff_over("b"), ["start b/5002 dev1@h"]);
}

#[test]
fn a_commit_of_what_the_machine_failed_is_nobodys_work() {
    let mut a = task("a", &[]);
    a.retry_from = RetryFrom::Last;
    let (mut desk, _) = Desk::new(repo_plan(vec![a]), 1);
    desk.ends("a", Outcome::Infrastructure("the workspace cannot be made".into()), Some(commit(7)));
    assert_eq!((desk.task("a").harvested, desk.task("a").uncharged), (None, 20));
    assert_eq!(desk.engine.attempts(&task_ref("a"))[0].commit, None);
    desk.backoff_over("a");
    let fresh = Start::Commit { base: commit(HEAD), tip: commit(HEAD) };
    assert_eq!(desk.engine.attempts(&task_ref("a"))[1].start, fresh, "the next one starts anew");
    // The commit of an agent that then failed is its work; a machine failure of the next attempt does not change that.
    desk.ends("a", Outcome::Exited(1), Some(commit(8)));
    desk.backoff_over("a");
    desk.ends("a", Outcome::Infrastructure("its host is gone".into()), Some(commit(9)));
    assert_eq!(desk.task("a").harvested, Some((2, commit(8))));
    desk.backoff_over("a");
    let last = Start::Commit { base: commit(HEAD), tip: commit(8) };
    assert_eq!(desk.engine.attempts(&task_ref("a"))[3].start, last);
}

#[test]
fn nothing_goes_on_from_a_commit_that_a_version_before_kept() {
    let mut a = task("a", &[]);
    a.retry_from = RetryFrom::Last;
    let (mut desk, _) = Desk::new(repo_plan(vec![a]), 1);
    desk.ends("a", Outcome::Exited(1), Some(commit(7)));
    let mut records: Vec<_> = desk.engine.records().collect();
    for record in &mut records {
        if let devstack_dag::record::Record::Attempt(attempt) = record {
            attempt.outcome = Some(Outcome::Infrastructure("the workspace cannot be made".into()));
        }
    }
    desk.engine = Engine::from_records(Config::default(), records.into_iter()).unwrap();
    desk.host("h", 1, &[]);
    desk.backoff_over("a");
    let fresh = Start::Commit { base: commit(HEAD), tip: commit(HEAD) };
    assert_eq!(desk.engine.attempts(&task_ref("a"))[1].start, fresh);
}

fn left(paths: &[&str], branches: &[(&str, u64)]) -> Left {
    let skipped = paths.iter().map(|path| Skipped { path: (*path).into(), why: "unreadable".into() }).collect();
    let branches = branches.iter().map(|(name, at)| Branch { name: (*name).into(), commit: commit(*at) }).collect();
    Left { skipped, more: 0, branches }
}

/// The feedback for an attempt of a fresh task that exits 0 with these leftovers and without a commit, and the task's
/// new status.
fn without_commit(allow_empty: bool, left: Left) -> (Status, String) {
    let mut a = task("a", &[]);
    a.allow_empty = allow_empty;
    let (mut desk, _) = Desk::new(repo_plan(vec![a]), 1);
    let report = Report { left, ..Report::new(attempt_id("a", 1), Outcome::Exited(0)) };
    desk.reports(report);
    let said = desk.task("a").feedback.first().map(|feedback| match &feedback.text {
        Text::Inline(said) => said.to_string(),
        other => panic!("{other:?}"),
    });
    (desk.status("a"), said.unwrap_or_default())
}

#[test]
fn changed_nothing_is_said_only_when_it_is_true() {
    let (_, said) = without_commit(false, Left::default());
    assert!(said.contains("changed nothing"), "{said}");
    let (_, said) = without_commit(false, left(&["dep"], &[]));
    assert!(said.contains("none of its files could be taken; not taken: dep (unreadable)"), "{said}");
    let (_, said) = without_commit(false, left(&[], &[("fix/x", 7), ("fix/y", 8)]));
    assert!(said.contains("its commits are on fix/x, fix/y") && !said.contains("changed nothing"), "{said}");
    let (status, said) = without_commit(false, left(&[".git"], &[]));
    assert!(status == Status::Todo && said.contains("destroyed the repository"), "{said}");
    // Also for a task that allows an empty result: a destroyed repository is not an empty result.
    assert_eq!(without_commit(true, Left::default()).0, Status::Completed);
    assert_eq!(without_commit(true, left(&["pipe"], &[])).0, Status::Completed);
    let (status, said) = without_commit(true, left(&[".git"], &[]));
    assert!(status == Status::Todo && said.contains("destroyed the repository"), "{said}");
}

#[test]
fn a_result_that_is_the_base_is_none() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    let commit = Some(commit(HEAD));
    let report =
        Report { commit, left: left(&[], &[("fix/x", 7)]), ..Report::new(attempt_id("a", 1), Outcome::Exited(0)) };
    desk.reports(report);
    assert_eq!((desk.status("a"), desk.task("a").charged, desk.task("a").harvested), (Status::Todo, 1, None));
}

#[test]
fn what_was_not_taken_is_told_kept_within_bounds_and_explained() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    let many: Vec<String> = (0..60).map(|n| format!("{n}{}", "x".repeat(190))).collect();
    let names: Vec<String> = (0..20).map(|n| format!("fix/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let branches: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 7)).collect();
    let summary = Some(Text::Inline("s".repeat(9000).into()));
    let all = left(&many, &branches);
    desk.reports(Report { left: all, summary, ..Report::new(attempt_id("a", 1), Outcome::Exited(1)) });
    let kept = desk.engine.attempts(&task_ref("a"))[0].left.clone().unwrap();
    let bytes: usize = kept.skipped.iter().map(|one| one.path.len() + one.why.len()).sum();
    assert!(bytes <= 8 << 10 && kept.branches.len() == 16, "{bytes}");
    assert_eq!(kept.skipped.len() + kept.more as usize, 60);
    let Some(Text::Inline(summary)) = desk.task("a").summary else { panic!("no summary") };
    assert_eq!(summary.len(), Config::default().summary_bytes);
    let Text::Inline(said) = &desk.task("a").feedback[0].text else { panic!("not inline") };
    assert!(said.contains("not taken: 0xxx") && said.contains("59 more"), "{said}");
    desk.backoff_over("a");
    let taken = left(&["dep"], &[("fix/x", 7)]);
    desk.reports(Report {
        commit: Some(commit(7)),
        left: taken,
        ..Report::new(attempt_id("a", 2), Outcome::Exited(0))
    });
    let words = desk.engine.explain(&task_ref("a")).unwrap();
    assert!(words.contains("attempt 2 are on fix/x, and were taken from there"), "{words}");
    assert!(words.contains("Not taken of attempt 2: dep (unreadable)"), "{words}");
}
