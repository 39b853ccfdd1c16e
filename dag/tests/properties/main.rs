//! The engine against a naive model that scans everything, on random graphs with shrinking.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{host_name, plan, role, task, task_ref};
use devstack_dag::{
    Answer, Config, Engine,
    attempt::{Outcome, Report},
    command::{Command, HostReport},
    fact::Fact,
    ids::Timestamp,
    invariants,
    plan::{PlanSpec, Priority},
    record::{Record, RecordKey, Status},
};
use proptest::prelude::*;

const PRIORITIES: [Priority; 4] = [Priority::Critical, Priority::High, Priority::Medium, Priority::Low];

/// For each task: its priority, and the earlier tasks that it depends on.
type Graph = Vec<(usize, BTreeSet<usize>)>;

fn graphs() -> impl Strategy<Value = Graph> {
    let task = |n: usize| (0..PRIORITIES.len(), prop::collection::btree_set(0..n.max(1), 0..3.min(n + 1)));
    (1usize..14).prop_flat_map(move |len| (0..len).map(task).collect::<Vec<_>>()).prop_map(|mut graph: Graph| {
        graph[0].1.clear();
        graph
    })
}

fn plan_of(graph: &Graph, count: u32) -> PlanSpec {
    let mut plan = plan(Vec::new());
    plan.project.roles = vec![role("dev", count)];
    for (n, (priority, dependencies)) in graph.iter().enumerate() {
        let names: Vec<String> = dependencies.iter().map(|d| format!("t{d}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut spec = task(&format!("t{n}"), &names);
        spec.priority = PRIORITIES[*priority];
        plan.tasks.push(spec);
    }
    plan
}

/// The number of tasks on the longest path from each task.
fn paths(graph: &Graph) -> Vec<usize> {
    let mut paths = vec![1; graph.len()];
    for n in (0..graph.len()).rev() {
        for &dependency in &graph[n].1 {
            paths[dependency] = paths[dependency].max(paths[n] + 1);
        }
    }
    paths
}

/// Fills the free slots with the most urgent ready tasks, scanning all of them each time.
fn start(graph: &Graph, done: &BTreeSet<usize>, running: &mut BTreeSet<usize>, room: usize) {
    let paths = paths(graph);
    while running.len() < room {
        let ready =
            (0..graph.len()).filter(|n| !done.contains(n) && !running.contains(n) && graph[*n].1.is_subset(done));
        let Some(next) = ready.min_by_key(|&n| (graph[n].0, std::cmp::Reverse(paths[n]), n)) else { break };
        running.insert(next);
    }
}

fn finish(n: usize) -> Command {
    let attempt = common::attempt_id(&format!("t{n}"), 1);
    let report = Report::new(attempt, Outcome::Exited(0));
    Command::FinishAttempt { host: host_name("h"), report }
}

fn host(slots: u32) -> Command {
    Command::ReportHost(HostReport::new(host_name("h"), slots))
}

proptest! {
    #[test]
    fn the_engine_starts_what_the_naive_model_starts(
        graph in graphs(), slots in 1u32..4, count in 1u32..4, choices in prop::collection::vec(0usize..8, 14),
    ) {
        let mut engine = Engine::new(Config::default());
        let mut facts: Vec<Fact> = Vec::new();
        let mut step = |engine: &mut Engine, command| {
            facts.extend(engine.step(Timestamp(1), command).unwrap().facts);
            invariants::check(engine).unwrap();
            invariants::check_quiet(engine).unwrap();
        };
        step(&mut engine, Command::SubmitPlan { plan: plan_of(&graph, count), head: None });
        step(&mut engine, host(slots));
        let (mut done, mut running) = (BTreeSet::new(), BTreeSet::new());
        for choice in choices {
            start(&graph, &done, &mut running, slots.min(count) as usize);
            let wip = (0..graph.len()).filter(|n| engine.status(&task_ref(&format!("t{n}"))) == Some(Status::Wip));
            prop_assert_eq!(wip.collect::<BTreeSet<_>>(), running.clone());
            let Some(&next) = running.iter().nth(choice % running.len().max(1)) else { break };
            running.remove(&next);
            done.insert(next);
            step(&mut engine, finish(next));
        }
        let mut replayed = Engine::new(Config::default());
        facts.iter().for_each(|fact| replayed.apply(fact));
        let keyed = |engine: &Engine| engine.records().map(|r| (r.key(), r)).collect::<BTreeMap<RecordKey, Record>>();
        prop_assert_eq!(keyed(&replayed), keyed(&engine));
        let rebuilt = Engine::from_records(Config::default(), engine.records()).unwrap();
        prop_assert_eq!(keyed(&rebuilt), keyed(&engine));
        invariants::check(&rebuilt).unwrap();
    }

    #[test]
    fn an_upsert_is_idempotent_whatever_has_happened(graph in graphs(), finished in 0usize..14) {
        let mut engine = Engine::new(Config::default());
        let submit = || Command::SubmitPlan { plan: plan_of(&graph, 1), head: None };
        engine.step(Timestamp(1), submit()).unwrap();
        engine.step(Timestamp(1), host(1)).unwrap();
        for _ in 0..finished {
            let names = (0..graph.len()).filter(|n| engine.status(&task_ref(&format!("t{n}"))) == Some(Status::Wip));
            let Some(n) = names.collect::<Vec<_>>().pop() else { break };
            engine.step(Timestamp(1), finish(n)).unwrap();
        }
        let decision = engine.step(Timestamp(1), submit()).unwrap();
        let Answer::Plan { number, added, updated, retried, unchanged, .. } = decision.answer else { panic!() };
        prop_assert_eq!((number, added, updated, retried, unchanged as usize), (1, 0, 0, 0, graph.len()));
        prop_assert!(decision.facts.is_empty() && decision.touched.is_empty());
    }
}
