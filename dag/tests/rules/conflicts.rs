//! Conflicts and their resolution, by an agent or a user.

use devstack_dag::{
    command::Command,
    effect::Effect,
    plan::{Executor, PlanSpec, Priority},
    record::{Kind, Status},
};

use crate::{
    common::{attempt_id, commit, repo_plan, role, task, task_ref},
    desk::Desk,
};

fn with_senior() -> PlanSpec {
    let mut plan = repo_plan(vec![task("a", &[]), task("after", &["a"])]);
    plan.project.roles.push(role("senior", 1));
    plan.project.resolver = Some("senior".parse().unwrap());
    plan
}

/// Task `a` with commit 5 conflicts.
fn conflicting(plan: PlanSpec) -> (Desk, Vec<String>) {
    let (mut desk, _) = Desk::new(plan, 2);
    desk.done("a", 5);
    let effects = desk.conflicts("a", 1);
    (desk, effects)
}

#[test]
fn a_conflict_blocks_the_task_and_a_senior_resolves_it_completing_both() {
    let (mut desk, effects) = conflicting(with_senior());
    assert_eq!(effects, ["start a-resolve-1/1 senior1@h"]);
    assert_eq!(desk.blocked("a"), "conflict");
    let resolution = desk.task("a-resolve-1");
    assert!(matches!(&resolution.kind, Kind::Resolve { resolves, .. } if resolves.as_str() == "a"));
    assert_eq!(
        (resolution.spec.priority, &*resolution.spec.title),
        (Priority::High, "Resolve conflict of a: Title of a")
    );
    assert_eq!(desk.start("a-resolve-1"), "1<5");
    assert_eq!(desk.done("a-resolve-1", 6), ["forget a-resolve-1/1", "prepare a-resolve-1/1"]);
    let request = desk.last.as_ref().unwrap().effects.iter().find_map(|e| match e {
        Effect::PrepareMerge(request) => Some(request.clone()),
        _ => None,
    });
    assert_eq!(request.unwrap().must_contain, [commit(5), commit(1)]);
    assert_eq!(desk.prepared("a-resolve-1", 1, 1, 7), ["publish 1 1->7"]);
    let effects = desk.landed(1, 7);
    assert_eq!(effects, ["deliver", "start after/1 dev1@h"]);
    let a = desk.task("a");
    assert_eq!((a.status, a.merge_commit), (Status::Completed, Some(commit(7))));
    assert_eq!(a.resolved_by.unwrap().as_str(), "a-resolve-1");
}

#[test]
fn without_a_resolver_a_person_resolves_naming_either_task() {
    for named in ["a", "a-resolve-1"] {
        let (mut desk, effects) = conflicting(repo_plan(vec![task("a", &[])]));
        assert_eq!(effects, [""; 0]);
        assert!(desk.engine.settled(&[task_ref("a")]));
        assert_eq!(desk.engine.waiting(None)[0].command, "devstack task resolve p/a-resolve-1 --checkout DIR");
        let next = desk.engine.next_attempt(&task_ref(named)).unwrap();
        assert_eq!(next, attempt_id("a-resolve-1", 1));
        let resolve = |number| Command::ResolveTask { task: task_ref(named), number, commit: commit(6) };
        assert_eq!(desk.refused(resolve(2)), "DS0219");
        assert_eq!(desk.act(resolve(1)), ["prepare a-resolve-1/1"]);
        desk.prepared("a-resolve-1", 1, 1, 7);
        desk.landed(1, 7);
        assert_eq!(desk.status("a"), Status::Completed);
    }
}

#[test]
fn a_person_takes_over_from_a_running_resolver_and_fences_it() {
    let (mut desk, _) = conflicting(with_senior());
    let resolve = Command::ResolveTask { task: task_ref("a"), number: 2, commit: commit(6) };
    assert_eq!(desk.act(resolve), ["stop a-resolve-1/1", "prepare a-resolve-1/2"]);
    assert_eq!(
        desk.attempt_ends("a-resolve-1", 1, devstack_dag::attempt::Outcome::Exited(0), Some(commit(9))),
        ["forget a-resolve-1/1"]
    );
    assert_eq!(desk.task("a-resolve-1").harvested, Some((2, commit(6))));
}

#[test]
fn a_resolver_that_uses_up_its_attempts_hands_the_same_task_to_a_person() {
    let (mut desk, _) = conflicting(with_senior());
    for _ in 0..2 {
        desk.fails("a-resolve-1");
        desk.backoff_over("a-resolve-1");
        assert_eq!(desk.start("a-resolve-1"), "1<5");
    }
    desk.fails("a-resolve-1");
    assert_eq!(desk.blocked("a-resolve-1"), "needs-human");
    assert_eq!(desk.task("a-resolve-1").spec.executor, Executor::Human);
    let resolve = Command::ResolveTask { task: task_ref("a"), number: 4, commit: commit(6) };
    assert_eq!(desk.act(resolve), ["prepare a-resolve-1/4"]);
}

#[test]
fn a_resolution_that_drops_a_side_is_charged() {
    let (mut desk, _) = conflicting(with_senior());
    desk.done("a-resolve-1", 6);
    let refused = Command::MergeRefused { attempt: attempt_id("a-resolve-1", 1), reason: "a side is missing".into() };
    assert_eq!(desk.act(refused), ["backoff a-resolve-1/1 1000"]);
    assert_eq!(desk.task("a-resolve-1").charged, 1);
    desk.backoff_over("a-resolve-1");
    assert_eq!(desk.start("a-resolve-1"), "1<5");
}

#[test]
fn a_resolution_that_conflicts_itself_is_repeated_on_the_new_head_not_nested() {
    let (mut desk, _) = conflicting(with_senior());
    desk.done("a-resolve-1", 6);
    desk.act(Command::HeadMoved { project: "p".parse().unwrap(), head: commit(2) });
    assert_eq!(desk.conflicts("a-resolve-1", 1), ["backoff a-resolve-1/1 1000"]);
    let task = desk.task("a-resolve-1");
    assert_eq!((task.status, task.charged, task.uncharged), (Status::Todo, 0, 20));
    desk.backoff_over("a-resolve-1");
    assert_eq!(desk.start("a-resolve-1"), "2<5");
}

#[test]
fn retrying_the_blocked_task_supersedes_the_resolution() {
    let (mut desk, _) = conflicting(with_senior());
    let effects = desk.act(Command::RetryTask { task: task_ref("a"), message: None });
    assert_eq!(effects, ["stop a-resolve-1/1", "start a/2 dev1@h"]);
    assert_eq!(desk.status("a-resolve-1"), Status::Rejected);
    assert_eq!(desk.task("a-resolve-1").rejected.as_deref(), Some("superseded"));
    assert_eq!(desk.start("a"), "1..1", "a commit that conflicts is not continued");
    desk.done("a", 8);
    desk.conflicts("a", 2);
    assert_eq!(desk.status("a-resolve-2"), Status::Wip, "numbers are not used twice");
}

#[test]
fn rejecting_the_blocked_task_rejects_its_resolution() {
    let (mut desk, _) = conflicting(with_senior());
    let effects = desk.act(Command::RejectTask { task: task_ref("a"), reason: "not wanted".into() });
    assert_eq!(effects, ["stop a-resolve-1/1"]);
    assert_eq!((desk.status("a"), desk.status("a-resolve-1")), (Status::Rejected, Status::Rejected));
    assert_eq!(desk.blocked("after"), "dependency-rejected");
}

#[test]
fn rejecting_the_resolution_leaves_the_blocked_task_to_a_person() {
    let (mut desk, _) = conflicting(with_senior());
    desk.act(Command::RejectTask { task: task_ref("a-resolve-1"), reason: "no".into() });
    assert_eq!(desk.blocked("a"), "needs-human");
}

#[test]
fn while_the_resolution_merges_the_blocked_task_is_left_alone() {
    let (mut desk, _) = conflicting(with_senior());
    desk.done("a-resolve-1", 6);
    desk.prepared("a-resolve-1", 1, 1, 7);
    for task in ["a", "a-resolve-1"].map(task_ref) {
        assert_eq!(desk.refused(Command::RetryTask { task, message: None }), "DS0210");
    }
    desk.act(Command::CancelPlan { project: "p".parse().unwrap(), plan: None });
    desk.landed(1, 7);
    assert_eq!(desk.status("a"), Status::Completed);
}

#[test]
fn a_long_id_is_cut_to_a_valid_one() {
    let long = "x".repeat(64);
    let (mut desk, _) = Desk::new(repo_plan(vec![task(&long, &[])]), 1);
    desk.done(&long, 5);
    desk.conflicts(&long, 1);
    assert_eq!(desk.status(&format!("{}-resolve-1", "x".repeat(54))), Status::Todo);
}
