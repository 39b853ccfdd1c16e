//! `max_cost` and `budget`: nothing starts that would exceed them, checks continue, a user raises them.

use devstack_dag::{
    Config, Engine, attempt::Outcome, command::Command, ids::Timestamp, plan::PlanSpec, record::Status,
};

use crate::{
    common::{plan, repo_plan, role, task, task_ref},
    desk::Desk,
};

const DOLLAR: u64 = 1_000_000;

fn budget(dollars: u64) -> PlanSpec {
    let mut plan = plan(["a", "b", "c", "d"].map(|id| task(id, &[])).to_vec());
    plan.project.budget_micros = Some(dollars * DOLLAR);
    plan
}

fn passes(desk: &mut Desk, id: &str, dollars: u64) -> Vec<String> {
    desk.costs(id, Outcome::Exited(0), Some(dollars))
}

#[test]
fn dispatch_stops_before_a_budget_is_passed_and_goes_on_when_it_is_raised() {
    // Two agents, but until a cost is known only one runs, to learn it.
    let (mut desk, effects) = Desk::new(budget(5), 9);
    assert_eq!(effects, ["start a/1 dev1@h"]);
    assert_eq!(passes(&mut desk, "a", 2), ["forget a/1", "start b/1 dev1@h"]);
    // 2 spent, 2 estimated for b: 2 more would be 6.
    let said = desk.engine.explain(&task_ref("c")).unwrap();
    assert!(said.contains("`budget` of $5.00 would be exceeded: $4.00 spent or reserved"), "{said}");
    assert!(!desk.engine.settled(&[task_ref("c")]), "b may leave something");
    assert_eq!(passes(&mut desk, "b", 1), ["forget b/1", "start c/1 dev1@h"]);
    assert_eq!(passes(&mut desk, "c", 1), ["forget c/1"]);
    assert_eq!(desk.status("d"), Status::Todo);
    assert!(desk.engine.settled(&[task_ref("d")]), "only a person moves it");
    let waiting = desk.engine.waiting(None);
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].why.contains("$4.00 spent") && waiting[0].command.contains("plan submit"), "{waiting:?}");
    assert_eq!(desk.submit(budget(6)).unwrap(), ["start d/1 dev1@h"]);
}

#[test]
fn a_restart_knows_what_was_spent() {
    let (mut desk, _) = Desk::new(budget(2), 9);
    passes(&mut desk, "a", 2);
    let mut restarted = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    let decision = restarted.step(Timestamp(100), Command::ResumeProject("p".parse().unwrap())).unwrap();
    assert!(decision.effects.is_empty(), "{decision:?}");
    let spent = &restarted.project(&"p".parse().unwrap()).unwrap().spent;
    assert_eq!((spent[0].cost_micros, spent[0].attempts, spent[0].unknown), (Some(2 * DOLLAR), 1, 0));
}

#[test]
fn failed_attempts_cost_too() {
    let (mut desk, _) = Desk::new(budget(3), 9);
    desk.costs("a", Outcome::Exited(1), Some(2));
    assert_eq!(desk.backoff_over("a"), [""; 0]);
    assert!(desk.engine.settled(&[task_ref("a")]));
}

#[test]
fn an_attempt_that_does_not_say_counts_as_the_dearest() {
    let (mut desk, _) = Desk::new(budget(6), 9);
    assert_eq!(passes(&mut desk, "a", 2), ["forget a/1", "start b/1 dev1@h", "start c/1 dev2@h"]);
    assert_eq!(desk.passes("b"), ["forget b/1"]);
    let said = desk.engine.explain(&task_ref("d")).unwrap();
    assert!(said.contains("$6.00 spent or reserved"), "{said}");
}

#[test]
fn a_role_that_never_says_is_not_held() {
    let (mut desk, _) = Desk::new(budget(1), 9);
    assert_eq!(desk.passes("a"), ["forget a/1", "start b/1 dev1@h", "start c/1 dev2@h"]);
}

#[test]
fn a_roles_limit_is_its_own() {
    let mut plan = plan(["a", "b", "c"].map(|id| task(id, &[])).to_vec());
    plan.tasks[2].executor = devstack_dag::plan::Executor::Agent("other".parse().unwrap());
    plan.project.roles = vec![role("dev", 1), role("other", 1)];
    plan.project.roles[0].max_cost_micros = Some(DOLLAR);
    let (mut desk, effects) = Desk::new(plan.clone(), 9);
    assert_eq!(effects, ["start a/1 dev1@h", "start c/1 other1@h"]);
    assert_eq!(passes(&mut desk, "a", 1), ["forget a/1"]);
    passes(&mut desk, "c", 50);
    let said = desk.engine.explain(&task_ref("b")).unwrap();
    assert!(said.contains("`max_cost` of `dev` of $1.00"), "{said}");
    plan.project.roles[0].max_cost_micros = Some(2 * DOLLAR);
    assert_eq!(desk.submit(plan).unwrap(), ["start b/1 dev1@h"]);
}

#[test]
fn checks_cost_nothing_and_go_on() {
    let mut plan = repo_plan(vec![task("a", &[]), task("b", &[])]);
    plan.project.checks = vec!["make test".into()];
    plan.project.budget_micros = Some(1);
    let (mut desk, _) = Desk::new(plan, 2);
    let attempt = crate::common::attempt_id("a", 1);
    let usage = Some(devstack_dag::attempt::Usage { cost_micros: Some(5), ..Default::default() });
    let (outcome, commit, tail) =
        (Outcome::Exited(0), Some(crate::common::commit(5)), devstack_dag::ids::Text::empty());
    desk.reports(devstack_dag::attempt::Report {
        commit,
        tail,
        usage,
        ..devstack_dag::attempt::Report::new(attempt, outcome)
    });
    assert_eq!(desk.prepared("a", 1, 1, 6), ["check a/2 dev1@h"]);
}

#[test]
fn a_project_without_limits_keeps_no_books_of_those_who_say_nothing() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    desk.passes("a");
    assert!(desk.engine.project(&"p".parse().unwrap()).unwrap().spent.is_empty());
}
