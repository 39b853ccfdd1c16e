//! Random plans and random changes to them.

use devstack_dag::{
    ids::{ProjectName, RoleName, TaskId},
    plan::{Executor, PlanSpec, Priority, RetryFrom, Review, TaskSpec},
};

use super::{host::DOLLAR, random::Random};
use crate::common;

pub fn random(r: &mut Random, name: &str) -> PlanSpec {
    let mut plan = common::plan(Vec::new());
    let project = &mut plan.project;
    project.name = ProjectName::new(name).unwrap();
    project.source = r.percent(75).then(|| "/src".into());
    if r.percent(40) {
        project.checks = vec!["make test".into()];
    }
    if r.percent(25) {
        project.review = Review::Human;
    }
    project.roles = vec![common::role("dev", 1 + r.below(3) as u32), common::role("dev1", 1)];
    if r.percent(30) {
        project.roles[1].secrets = vec!["KEY".into()];
    }
    if r.percent(30) {
        project.roles[1].labels.insert("gpu".into(), "a100".into());
    }
    if r.percent(30) {
        project.roles[0].image = Some("agent".into());
    }
    if r.percent(60) {
        project.roles.push(common::role("senior", 1));
        project.resolver = Some(RoleName::new("senior").unwrap());
    }
    for _ in 0..1 + r.below(14) {
        add_task(r, &mut plan);
    }
    if r.percent(50) {
        let roles: &[&str] = if r.percent(50) { &["dev"] } else { &["dev", "senior"] };
        common::uses(&mut plan, common::profile("cli", "acme"), roles);
    }
    if r.percent(30) {
        plan.project.budget_micros = Some((1 + r.below(9)) as u64 * DOLLAR);
    }
    if r.percent(20) {
        plan.project.roles[0].max_cost_micros = Some((1 + r.below(5)) as u64 * DOLLAR);
    }
    plan
}

/// Ten dollars more for everything that has a limit.
pub fn raise(plan: &mut PlanSpec) {
    let raised = |limit: &mut Option<u64>| *limit = limit.map(|limit| limit + 10 * DOLLAR);
    raised(&mut plan.project.budget_micros);
    plan.project.roles.iter_mut().for_each(|role| raised(&mut role.max_cost_micros));
}

fn add_task(r: &mut Random, plan: &mut PlanSpec) {
    let n = plan.tasks.len();
    let mut task = common::task(&format!("t{n}"), &[]);
    task.dependencies = dependencies(r, plan, n);
    task.priority = [Priority::Critical, Priority::High, Priority::Medium, Priority::Low][r.below(4)];
    task.executor = match r.below(12) {
        0 => Executor::Human,
        1..4 => Executor::Agent(RoleName::new("dev1").unwrap()),
        _ => Executor::Agent(RoleName::new("dev").unwrap()),
    };
    task.attempts = 1 + r.below(3) as u32;
    task.timeout_ms = if r.percent(50) { 60_000 } else { 1_800_000 };
    task.allow_empty = r.percent(15);
    task.retry_from = if r.percent(50) { RetryFrom::Last } else { RetryFrom::Fresh };
    // Plan files name tasks in any order: dependencies may come later in the file.
    let position = r.below(n + 1);
    plan.tasks.insert(position, task);
}

fn dependencies(r: &mut Random, plan: &PlanSpec, below: usize) -> Box<[TaskId]> {
    let earlier = plan.tasks.iter().filter(|t| number(t) < below);
    earlier.filter(|_| r.percent(20)).map(|t| t.id.clone()).collect()
}

fn number(task: &TaskSpec) -> usize {
    task.id.as_str()[1..].parse().unwrap()
}

/// Adds tasks, changes titles, dependencies and roles.
pub fn change(r: &mut Random, plan: &PlanSpec) -> PlanSpec {
    let mut plan = plan.clone();
    if r.percent(60) {
        add_task(r, &mut plan);
    }
    for n in 0..plan.tasks.len() {
        if r.percent(15) {
            let title = format!("Another title {}", r.below(1000));
            plan.tasks[n].title = title.into();
        }
        if r.percent(15) {
            let below = number(&plan.tasks[n]);
            plan.tasks[n].dependencies = dependencies(r, &plan, below);
        }
    }
    if r.percent(20) {
        plan.project.roles[0].count += 1;
    }
    if r.percent(10) {
        plan.project.checks = if plan.project.checks.is_empty() { vec!["make test".into()] } else { Vec::new() };
    }
    plan
}
