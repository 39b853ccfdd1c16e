//! The source moves on with conflicting commits: one resolution task, and delivery waits for it.

use devstack_dag::{
    Answer,
    attempt::Conflict,
    command::{Command, Job},
    effect::Timer,
    ids::Text,
    plan::{Executor, PlanSpec, Priority},
    record::{Kind, Status},
};

use crate::{
    common::{commit, project_name, repo_plan, role, task, task_ref},
    desk::Desk,
};

fn with_senior() -> PlanSpec {
    let mut plan = repo_plan(vec![task("a", &[]), task("b", &[])]);
    plan.project.roles[0].count = 1;
    plan.project.roles.push(role("senior", 1));
    plan.project.resolver = Some("senior".parse().unwrap());
    plan
}

/// The head is 6, with the work of `a`, when the delivery finds the source at commit 9.
fn diverged(plan: PlanSpec) -> (Desk, Vec<String>) {
    let (mut desk, _) = Desk::new(plan, 2);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    desk.landed(1, 6);
    let effects = desk.act(clashes(9));
    (desk, effects)
}

fn clashes(theirs: u64) -> Command {
    let text = Text::Inline("<<<<<<<".into());
    let conflict =
        Conflict { ours: commit(6), theirs: commit(theirs), base: commit(1), paths: vec!["a.txt".into()], text };
    Command::SourceConflicted { project: project_name("p"), conflict }
}

fn delivered(head: u64) -> Command {
    Command::Delivered { project: project_name("p"), head: commit(head) }
}

fn waits(desk: &Desk) -> Option<String> {
    desk.engine.project(&project_name("p")).unwrap().delivery_blocked.clone()
}

fn resume() -> Command {
    Command::ResumeProject(project_name("p"))
}

fn reject() -> Command {
    Command::RejectTask { task: task_ref("sync-resolve-1"), reason: "not now".into() }
}

#[test]
fn a_senior_brings_both_sides_together_and_the_source_gets_them() {
    let (mut desk, effects) = diverged(with_senior());
    assert_eq!(effects, ["start sync-resolve-1/1 senior1@h"]);
    let resolution = desk.task("sync-resolve-1");
    assert!(matches!(&resolution.kind, Kind::Sync { conflict } if conflict.theirs == commit(9)));
    assert_eq!(resolution.spec.priority, Priority::High);
    assert_eq!(desk.start("sync-resolve-1"), "6<9");
    let why = waits(&desk).unwrap();
    assert!(why.contains("`sync-resolve-1`") && why.contains("a.txt"), "{why}");
    let explained = desk.engine.explain(&task_ref("a")).unwrap();
    assert!(explained.contains("not delivered yet: it waits for `sync-resolve-1`"), "{explained}");
    assert!(desk.engine.waiting(None).is_empty(), "no person is waited for");
    assert!(!desk.engine.settled(&[task_ref("a")]), "the source gets what was merged");

    assert_eq!(desk.done("sync-resolve-1", 10), ["forget sync-resolve-1/1", "prepare sync-resolve-1/1"]);
    let request = desk.last.as_ref().unwrap().effects.iter().find_map(|e| match e {
        devstack_dag::effect::Effect::PrepareMerge(request) => Some(request.clone()),
        _ => None,
    });
    assert_eq!(request.unwrap().must_contain, [commit(9), commit(6)]);
    desk.prepared("sync-resolve-1", 1, 6, 11);
    assert_eq!(desk.landed(2, 11), ["deliver"]);
    assert_eq!((desk.status("sync-resolve-1"), waits(&desk)), (Status::Completed, None));
    desk.act(delivered(11));
    assert!(desk.task("a").delivered_at.is_some() && desk.task("sync-resolve-1").delivered_at.is_some());
}

#[test]
fn without_a_resolver_a_person_resolves_it() {
    let mut plan = repo_plan(vec![task("a", &[])]);
    plan.project.resolver = None;
    let (mut desk, effects) = diverged(plan);
    assert_eq!(effects, [""; 0]);
    assert_eq!(desk.task("sync-resolve-1").spec.executor, Executor::Human);
    assert!(desk.engine.settled(&[task_ref("a")]));
    let waiting = desk.engine.waiting(None);
    let commands: Vec<&str> = waiting.iter().map(|waiting| waiting.command.as_str()).collect();
    assert_eq!(commands, ["devstack task resolve p/sync-resolve-1 --checkout DIR"]);
    let resolve = Command::ResolveTask { task: task_ref("sync-resolve-1"), number: 1, commit: commit(10) };
    assert_eq!(desk.act(resolve), ["prepare sync-resolve-1/1"]);
    desk.prepared("sync-resolve-1", 1, 6, 11);
    assert_eq!(desk.landed(2, 11), ["deliver"]);
}

#[test]
fn there_is_one_resolution_however_often_and_far_the_source_moves_and_it_keeps_its_material() {
    let (mut desk, _) = diverged(with_senior());
    for theirs in [9, 9, 12] {
        assert_eq!(desk.act(clashes(theirs)), [""; 0]);
        assert_eq!(desk.answer(), Answer::Unchanged);
    }
    desk.done("sync-resolve-1", 10);
    desk.prepared("sync-resolve-1", 1, 6, 11);
    desk.landed(2, 11);
    // Commits that arrived meanwhile conflict too.
    assert_eq!(desk.act(clashes(12)), ["start sync-resolve-2/1 senior1@h"]);
    assert_eq!(desk.start("sync-resolve-2"), "11<12");
}

#[test]
fn a_resolution_starts_from_the_present_head_and_an_overtaken_one_is_repeated() {
    let (mut desk, _) = diverged(with_senior());
    desk.done("b", 7);
    desk.prepared("b", 1, 6, 8);
    desk.landed(2, 8);
    desk.done("sync-resolve-1", 10);
    assert_eq!(desk.conflicts("sync-resolve-1", 1), ["backoff sync-resolve-1/1 1000"]);
    desk.backoff_over("sync-resolve-1");
    assert_eq!(desk.start("sync-resolve-1"), "8<9");
    assert!(waits(&desk).unwrap().contains("sync-resolve-1"));
}

#[test]
fn a_source_that_was_brought_up_to_date_otherwise_supersedes_it() {
    let (mut desk, _) = diverged(with_senior());
    desk.act(Command::HeadMoved { project: project_name("p"), head: commit(12) });
    assert_eq!(desk.act(delivered(12)), ["stop sync-resolve-1/1"]);
    assert_eq!(desk.task("sync-resolve-1").rejected.as_deref(), Some("superseded"));
    assert_eq!(waits(&desk), None);
    assert!(desk.task("a").delivered_at.is_some());
}

#[test]
fn one_that_a_person_gave_up_comes_back_only_when_a_person_asks_for_the_delivery() {
    let (mut desk, _) = diverged(with_senior());
    desk.act(reject());
    let waiting = desk.engine.waiting(None);
    assert_eq!(waiting[0].command, "devstack project resume p");
    assert!(waiting[0].why.contains("was rejected"), "{}", waiting[0].why);
    assert_eq!(desk.act(clashes(9)), [""; 0]);
    assert_eq!(desk.act(resume()), ["deliver"]);
    assert_eq!(desk.act(clashes(9)), ["start sync-resolve-2/1 senior1@h"]);
    // Further commits of the source are another conflict.
    desk.act(Command::RejectTask { task: task_ref("sync-resolve-2"), reason: "no".into() });
    assert_eq!(desk.act(clashes(12)), ["start sync-resolve-3/1 senior1@h"]);
}

#[test]
fn resuming_the_project_does_not_hide_what_delivery_waits_for() {
    let (mut desk, _) = diverged(with_senior());
    let before = waits(&desk);
    assert_eq!(desk.act(resume()), ["deliver"]);
    assert_eq!(waits(&desk), None);
    assert_eq!(desk.act(clashes(9)), [""; 0]);
    assert_eq!(waits(&desk), before);
}

#[test]
fn a_delivery_that_failed_says_why_and_a_person_has_it_tried_at_once() {
    let (mut desk, _) = diverged(repo_plan(vec![task("a", &[])]));
    desk.act(Command::HeadMoved { project: project_name("p"), head: commit(12) });
    desk.act(delivered(12));
    desk.act(Command::HeadMoved { project: project_name("p"), head: commit(13) });
    let failed =
        || Command::JobFailed { job: Job::Deliver(project_name("p")), reason: "the server does not answer".into() };
    assert_eq!(desk.act(failed()), ["again deliver 1000"]);
    let why = desk.engine.delivery_waits(&project_name("p")).unwrap();
    assert!(why.contains("tried again") && why.contains("does not answer"), "{why}");
    assert_eq!(desk.act(resume()), ["deliver"]);
    // The timer of the failure fires after the delivery was already requested.
    assert_eq!(desk.act(Command::TimerFired(Timer::Retry(Job::Deliver(project_name("p"))))), [""; 0]);
    desk.act(delivered(13));
    assert_eq!(desk.engine.delivery_waits(&project_name("p")), None);
}

#[test]
fn cancelling_the_plan_gives_it_up_and_a_new_plan_brings_it_back() {
    let (mut desk, _) = diverged(with_senior());
    desk.act(Command::CancelPlan { project: project_name("p"), plan: None });
    assert_eq!(desk.status("sync-resolve-1"), Status::Rejected);
    let mut plan = with_senior();
    plan.tasks = vec![task("c", &[])];
    assert_eq!(desk.submit(plan).unwrap(), ["deliver", "start c/1 dev1@h"]);
    assert_eq!(desk.act(clashes(9)), ["start sync-resolve-2/1 senior1@h"]);
}

#[test]
fn its_id_is_free_in_the_project_and_refused_in_a_later_plan() {
    let mut plan = with_senior();
    plan.tasks.push(task("sync-resolve-1", &["b"]));
    let (mut desk, effects) = diverged(plan.clone());
    assert_eq!(effects, ["start sync-resolve-2/1 senior1@h"]);
    plan.tasks.push(task("sync-resolve-2", &[]));
    assert!(desk.submit(plan).is_err());
}

#[test]
fn a_restart_keeps_it() {
    let (desk, _) = diverged(with_senior());
    let again = devstack_dag::Engine::from_records(Default::default(), desk.engine.records()).unwrap();
    devstack_dag::invariants::check(&again).unwrap();
    let mut desk = Desk { engine: again, now: desk.now, last: None };
    assert_eq!(desk.act(clashes(9)), [""; 0]);
    assert_eq!(desk.start("sync-resolve-1"), "6<9");
}
