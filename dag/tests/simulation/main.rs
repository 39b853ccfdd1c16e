//! Seeded simulation: random plans, hosts that crash and return, lost, late and repeated messages, a Taskmaster that is
//! killed and rebuilt from its records, users who interfere. Invariants hold after every step. Then the faults stop and
//! everything must settle. Then a diligent user handles everything that waits, and everything must end.
//!
//! `DEVSTACK_SEED=7` replays one seed; `DEVSTACK_SEEDS=5000` runs more.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod git;
mod host;
mod plans;
mod random;
mod storm;
mod world;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use devstack_dag::{
    command::Command,
    fact::{Fact, FactKind, Place},
    ids::TaskRef,
    record::{BlockedReason, Status},
};
use world::World;

/// Enough that each rule is hit many times, few enough for a few seconds in a debug build.
const SEEDS: u64 = 700;

#[test]
fn everything_settles_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("DEVSTACK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DEVSTACK_SEEDS").unwrap_or(SEEDS),
    };
    let all = seeds.end - seeds.start >= SEEDS;
    let mut met = BTreeMap::new();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok((facts, raised)) => {
                facts.iter().for_each(|fact| count(&mut met, &fact.kind));
                *met.entry("a limit raised".to_owned()).or_default() += raised;
            }
            Err(_) => panic!("seed {seed} fails; DEVSTACK_SEED={seed} replays it"),
        }
    }
    // A simulation that never meets a conflict proves nothing about conflicts.
    let rare: Vec<_> = EXPECTED.iter().filter(|&&what| met.get(what).copied().unwrap_or(0) < 10).collect();
    assert!(!all || rare.is_empty(), "hardly ever met: {rare:?} in {met:#?}");
}

/// Events that every run of the default size must have met at least ten times.
const EXPECTED: [&str; 45] = [
    "ProjectDescribed",
    "TasksAdded",
    "TaskUpdated",
    "PlanSubmitted",
    "PlanCancelled",
    "ProjectPaused",
    "HostReported",
    "HostLost",
    "HostSuspected",
    "HostReturned",
    "HostDrained",
    "HostUndrained",
    "HostRemoved",
    "HostQuarantined",
    "AttemptStarted",
    "AttemptStopping",
    "AttemptEnded",
    "ResultGiven",
    "TaskMoved",
    "FeedbackGiven",
    "WorkDropped",
    "ExecutorChanged",
    "MergeRequested",
    "MergePrepared",
    "MergeIntended",
    "MergeLanded",
    "MergeAbandoned",
    "HeadMoved",
    "ConflictFound",
    "SourceConflicted",
    "TaskCompleted",
    "Delivered",
    "DeliveryBlocked",
    "JobDelayed",
    "JobRepeated",
    "ProviderParked",
    "ProviderResumed",
    "ProviderServed",
    "a limit raised",
    "conflict",
    "attempts-exhausted",
    "dependency-rejected",
    "needs-human",
    "policy",
    "superseded sync",
];

fn count(met: &mut BTreeMap<String, u32>, kind: &FactKind) {
    let text = format!("{kind:?}");
    let name = text.split([' ', '(']).next().unwrap_or_default();
    *met.entry(name.to_owned()).or_default() += 1;
    if let FactKind::TaskMoved { task, place } = kind
        && place.rejected.as_deref() == Some("superseded")
        && task.id.as_str().starts_with("sync-resolve")
    {
        *met.entry("superseded sync".into()).or_default() += 1;
    }
    if let FactKind::TaskMoved { place: Place { blocked: Some((reason, _)), .. }, .. } = kind {
        *met.entry(reason.to_string()).or_default() += 1;
    }
}

fn run(seed: u64) -> (Vec<Fact>, u32) {
    let mut world = World::new(seed);
    for n in 0..world.plans.len() {
        world.submit(n);
    }
    world.connect_all();
    for _ in 0..100 + world.random.below(500) {
        match world.random.below(100) {
            0..4 => world.misfortune(),
            4..12 => world.meddle(),
            _ => _ = world.go_on(),
        }
    }
    world.calm();
    settle(&mut world);
    for hub in world.hubs.values_mut() {
        hub.conflicts = 0;
    }
    // Each round moves every waiting task at least one stage further; chains are at most as long as there are tasks.
    for _ in 0..400 {
        let waiting = world.engine.waiting(None);
        if waiting.is_empty() {
            break;
        }
        for item in waiting {
            see_to(&mut world, item);
        }
        settle(&mut world);
    }
    let open: Vec<String> = world.tasks().iter().filter_map(|t| unfinished(&world, t)).collect();
    assert!(open.is_empty(), "not over in the end: {open:#?}");
    world.crash();
    settle(&mut world);
    world.check_end();
    (world.facts, world.raised)
}

fn unfinished(world: &World, task: &TaskRef) -> Option<String> {
    let over = world.engine.status(task)?.is_terminal();
    (!over).then(|| world.engine.explain(task).unwrap())
}

/// Without faults everything in flight comes to an end, and then the engine reports it.
fn settle(world: &mut World) {
    world.connect_all();
    let mut moves = 0;
    while world.go_on() {
        moves += 1;
        assert!(moves < 100_000, "it never comes to rest");
    }
    assert!(world.engine.settled(&world.tasks()), "nothing is under way, but something is due");
}

/// What a user would do about it.
fn see_to(world: &mut World, item: devstack_dag::Waiting) {
    let Some(id) = item.task else {
        if item.command.contains("plan submit") {
            return world.raise(&item.project);
        }
        world.send(Command::ResumeProject(item.project)).unwrap();
        return;
    };
    let task = TaskRef { project: item.project, id };
    let human = item.command.contains(" resolve ");
    let command = match (item.status, item.reason) {
        (Some(Status::Review), _) => Command::ApproveTask(task),
        _ if human => return world.resolve(&task),
        (Some(Status::Todo), _) => Command::ApproveTask(task),
        (_, Some(BlockedReason::DependencyRejected)) => Command::RejectTask { task, reason: "no way".into() },
        _ => Command::RetryTask { task, message: None },
    };
    // Handling one task may have moved another one.
    _ = world.send(command);
}
