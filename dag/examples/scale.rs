//! The cost of the engine by itself: `cargo run --release -p devstack-dag --example scale`.
//! Prints time and memory; asserts nothing, because machines differ.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use devstack_dag::{
    Config, Decision, Engine,
    attempt::{Outcome, Report},
    command::{Command, HostReport},
    effect::Effect,
    ids::{HostName, ProjectName, RoleName, TaskId, Text, Timestamp},
    plan::{
        Executor, Limits, Network, PlanSpec, Priority, ProjectSpec, RetryFrom, Review, RoleSpec, TaskSpec, VerifyOn,
    },
    record::Record,
};

fn main() {
    submit(100_000);
    run("independent", plan(10_000, |_| Vec::new()), 2);
    run("chain", plan(10_000, |n| n.checked_sub(1).into_iter().collect()), 2);
    run(
        "layers of 100",
        plan(10_000, |n| if n < 100 { vec![] } else { (n / 100 * 100 - 100..n / 100 * 100).collect() }),
        64,
    );
    hosts(1_000, 50, 20);
}

/// Starts on many hosts, all of them different: each decision ends one attempt and starts the next. A role fits half of
/// the hosts, and few of these have its image.
fn hosts(hosts: u32, slots: u32, roles: usize) {
    let (decisions, mut plan) = (50_000, plan(2 * (hosts * slots) as usize, |_| Vec::new()));
    let dev = plan.project.roles[0].clone();
    let named = |n: usize| RoleName::new(&format!("dev{n}x")).unwrap();
    let labels = |n: usize| BTreeMap::from([("gpu".to_owned(), ["a100", "t4"][n % 2].to_owned())]);
    let role =
        |n| RoleSpec { name: named(n), image: Some("agent".into()), labels: labels(n), count: 1_000, ..dev.clone() };
    plan.project.roles = (0..roles).map(role).collect();
    for (n, task) in plan.tasks.iter_mut().enumerate() {
        task.executor = Executor::Agent(named(n % roles));
    }
    let mut engine = Engine::new(Config::default());
    engine.step(Timestamp(1), Command::SubmitPlan { plan, head: None }).unwrap();
    let mut running = VecDeque::new();
    for n in 0..hosts as usize {
        let mut report = HostReport::new(HostName::new(&format!("host{n}")).unwrap(), slots);
        report.labels = labels(n);
        report.labels.insert("rack".into(), n.to_string());
        report.secrets = (0..10).map(|n| format!("SECRET_{n}")).collect();
        report.images = if n % 20 < 2 { vec!["agent".into()] } else { Vec::new() };
        running.extend(engine.step(Timestamp(1), Command::ReportHost(report)).unwrap().effects);
    }
    let start = Instant::now();
    for _ in 0..decisions {
        let Some(Effect::StartAttempt { host, order, .. }) = running.pop_front() else { panic!("nothing runs") };
        let (attempt, outcome) = (order.attempt, Outcome::Exited(0));
        let report = Report::new(attempt, outcome);
        let decision = engine.step(Timestamp(2), Command::FinishAttempt { host, report }).unwrap();
        running.extend(decision.effects.into_iter().filter(|effect| matches!(effect, Effect::StartAttempt { .. })));
    }
    let rate = f64::from(decisions) / start.elapsed().as_secs_f64();
    println!("{hosts} hosts of {slots} slots, {roles} roles, {} at work: {rate:.0} decisions/s", running.len());
}

fn plan(tasks: usize, dependencies: impl Fn(usize) -> Vec<usize>) -> PlanSpec {
    let id = |n: usize| TaskId::new(&format!("t{n}")).unwrap();
    let role = RoleName::new("dev").unwrap();
    let task = |n| TaskSpec {
        id: id(n),
        title: format!("Task {n}").into(),
        prompt: Text::empty(),
        dependencies: dependencies(n).into_iter().map(id).collect(),
        priority: Priority::Medium,
        executor: Executor::Agent(role.clone()),
        command: None,
        timeout_ms: 60_000,
        grace_ms: 1_000,
        idle_timeout_ms: 60_000,
        attempts: 3,
        retry_from: RetryFrom::Last,
        allow_empty: false,
        mass_delete: false,
        may_change: Box::default(),
    };
    let spec = RoleSpec {
        name: role.clone(),
        count: 1_000,
        command: vec!["/bin/true".into()],
        image: None,
        secrets: Vec::new(),
        network: Network::None,
        limits: Limits::default(),
        profile: None,
        max_cost_micros: None,
        labels: Default::default(),
        max_disconnect_ms: None,
    };
    let project = ProjectSpec {
        name: ProjectName::new("p").unwrap(),
        source: None,
        base: None,
        integration: "dev".into(),
        checks: Vec::new(),
        review: Review::None,
        resolver: None,
        roles: vec![spec],
        profiles: Vec::new(),
        budget_micros: None,
        protected: Vec::new(),
        verify_on: VerifyOn::Any,
        prompt_template: None,
    };
    PlanSpec { project, tasks: (0..tasks).map(task).collect() }
}

/// Resident kilobytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn submit(tasks: usize) {
    let before = memory();
    let plan = plan(tasks, |_| Vec::new());
    println!("{tasks} tasks: the plan itself takes {} KB", memory() - before);
    let mut engine = Engine::new(Config::default());
    let start = Instant::now();
    let decision = engine.step(Timestamp(1), Command::SubmitPlan { plan, head: None }).unwrap();
    println!("  submit: {:?}, {} facts, {} records", start.elapsed(), decision.facts.len(), decision.touched.len());
    println!("  resident with engine and decision: {} KB more than before the plan", memory() - before);
    let start = Instant::now();
    let records: Vec<Record> = decision.touched.iter().filter_map(|key| engine.record(key)).collect();
    println!("  records: {:?}", start.elapsed());
    let start = Instant::now();
    let engine_2 = Engine::from_records(Config::default(), records.into_iter()).unwrap();
    println!("  from records: {:?}", start.elapsed());
    assert_eq!(engine.ready(), engine_2.ready());
}

fn run(name: &str, plan: PlanSpec, slots: u32) {
    let tasks = plan.tasks.len() as u32;
    let mut engine = Engine::new(Config::default());
    engine.step(Timestamp(1), Command::SubmitPlan { plan, head: None }).unwrap();
    let host = HostName::new("h").unwrap();
    let report = HostReport::new(host.clone(), slots);
    let mut work: Vec<Effect> = engine.step(Timestamp(1), Command::ReportHost(report)).unwrap().effects;
    let (start, mut steps) = (Instant::now(), 0u32);
    while let Some(effect) = work.pop() {
        let Effect::StartAttempt { order, .. } = effect else { continue };
        let (attempt, outcome) = (order.attempt, Outcome::Exited(0));
        let report = Report::new(attempt, outcome);
        let finish = Command::FinishAttempt { host: host.clone(), report };
        let Decision { effects, touched, .. } = engine.step(Timestamp(2), finish).unwrap();
        // The shell stores every changed record.
        touched.iter().for_each(|key| drop(std::hint::black_box(engine.record(key))));
        work.extend(effects);
        steps += 1;
    }
    assert_eq!(steps, tasks);
    println!("{name}: {:?} a task", start.elapsed() / tasks);
}
