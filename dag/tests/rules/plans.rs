//! Submitting plans: what is refused and what an upsert does.

use devstack_dag::{
    Answer, Class, Rejection,
    plan::{Executor, PlanSpec},
    record::Status,
};

use crate::{
    common::{plan, repo_plan, role, task},
    desk::Desk,
};

/// Codes and messages of the problems of a plan.
fn problems(desk: &mut Desk, plan: PlanSpec) -> Vec<String> {
    let Err(Rejection::Plan(problems)) = desk.submit(plan) else { panic!("not refused") };
    problems.iter().map(|p| format!("{} {p}", p.code())).collect()
}

fn added(desk: &Desk) -> (u32, u32, u32, u32, u32) {
    match desk.answer() {
        Answer::Plan { number, added, updated, retried, unchanged, .. } => (number, added, updated, retried, unchanged),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_problems_are_named() {
    let (mut desk, _) = Desk::new(plan(vec![task("x", &[])]), 1);
    let mut bad = plan(vec![task("a", &["a"]), task("a", &[]), task("b", &["c", "c"])]);
    bad.project.name = "q".parse().unwrap();
    bad.project.roles.push(role("idle", 0));
    bad.project.resolver = Some("nobody".parse().unwrap());
    bad.tasks[1].executor = Executor::Agent("ghost".parse().unwrap());
    bad.tasks[2].attempts = 0;
    let codes: Vec<String> = problems(&mut desk, bad).iter().map(|p| p[..6].to_owned()).collect();
    assert_eq!(codes, ["DS0245", "DS0248", "DS0231", "DS0230", "DS0236", "DS0238", "DS0232"]);
    assert!(desk.engine.project(&"q".parse().unwrap()).is_none());
}

#[test]
fn a_cycle_is_named_in_order_also_through_tasks_that_are_there_already() {
    let (mut desk, _) = Desk::new(plan(vec![task("x", &[]), task("a", &["x"]), task("b", &["a"])]), 1);
    let ring = plan(vec![task("x", &[]), task("a", &["b"]), task("b", &["a"])]);
    assert_eq!(problems(&mut desk, ring), ["DS0235 dependencies form a cycle: a -> b -> a"]);
    let Err(rejection) = desk.submit(plan(vec![task("x", &[]), task("a", &["nowhere"]), task("b", &["a"])])) else {
        panic!("not refused")
    };
    assert_eq!((rejection.code(), rejection.class()), ("DS0233", Class::Invalid));
}

#[test]
fn an_identical_resubmission_has_no_facts() {
    let same = || plan(vec![task("a", &[]), task("b", &["a"])]);
    let (mut desk, _) = Desk::new(same(), 1);
    desk.submit(same()).unwrap();
    assert_eq!(added(&desk), (1, 0, 0, 0, 2));
    assert_eq!(desk.last.as_ref().unwrap().facts, []);
    assert_eq!(desk.last.as_ref().unwrap().touched, []);
}

#[test]
fn an_upsert_adds_updates_retries_and_leaves_alone() {
    let tasks = || vec![task("run", &[]), task("wait", &["run"]), task("stuck", &[])];
    let (mut desk, _) = Desk::new(plan(tasks()), 2);
    for _ in 0..3 {
        desk.fails("stuck");
        if desk.status("stuck") == Status::Todo {
            desk.backoff_over("stuck");
        }
    }
    let mut changed = plan(tasks());
    changed.tasks[1].title = "Another".into();
    changed.tasks[2].title = "Mended".into();
    changed.tasks.push(task("new", &["wait"]));
    assert_eq!(desk.submit(changed.clone()).unwrap(), ["start stuck/4 dev2@h"]);
    assert_eq!(added(&desk), (2, 1, 1, 1, 1));
    changed.tasks[0].title = "Too late".into();
    assert_eq!(problems(&mut desk, changed.clone()), ["DS0241 task `run` has changed in the plan, but it is WIP"]);
    changed.tasks[0].title = "Title of run".into();
    changed.tasks.remove(1);
    // `new` still depends on it, so the removal is the only problem.
    assert_eq!(problems(&mut desk, changed), ["DS0243 task `wait` of an earlier submission is missing"]);
}

#[test]
fn another_plan_of_the_project_is_no_removal() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    desk.submit(plan(vec![task("b", &["a"])])).unwrap();
    assert_eq!(added(&desk), (2, 1, 0, 0, 0));
}

#[test]
fn what_is_fixed_at_creation_stays() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    let mut other = repo_plan(vec![task("a", &[])]);
    other.project.integration = "main".into();
    let Err(rejection) = desk.submit(other) else { panic!("not refused") };
    assert_eq!((rejection.code(), rejection.class()), ("DS0253", Class::State));
    let mut fewer = repo_plan(vec![task("a", &[])]);
    fewer.project.roles = vec![role("other", 1)];
    fewer.tasks[0].executor = Executor::Agent("other".parse().unwrap());
    let codes: Vec<String> = problems(&mut desk, fewer).iter().map(|p| p[..6].to_owned()).collect();
    assert_eq!(codes, ["DS0247", "DS0241"]);
    let mut more = repo_plan(vec![task("a", &[])]);
    more.project.roles[0].count = 7;
    desk.submit(more).unwrap();
    assert_eq!(added(&desk), (1, 0, 0, 0, 1));
}

#[test]
fn facts_and_tasks_stay_small() {
    let tasks: Vec<_> = (0..2000).map(|n| task(&format!("task-{n}"), &[])).collect();
    let (desk, _) = Desk::new(plan(tasks), 0);
    assert!(desk.engine.tasks(&"p".parse().unwrap()).map(|t| t.spec.id.to_string()).is_sorted_by_key(|id| id.len()));
    let names: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut wide: Vec<_> = names.iter().map(|id| task(id, &[])).collect();
    wide.push(task("all", &names));
    let mut desk = desk;
    let said = problems(&mut desk, plan(wide));
    assert!(said[0].starts_with("DS0239") && said.len() == 1, "{said:?}");
}
