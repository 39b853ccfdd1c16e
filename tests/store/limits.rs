//! Whatever a host, a person or git says, at the longest that it may be, in whatever state: what the engine makes of it
//! stays below 12 KiB a fact and 16 KiB a record by itself. The size check before a decision is applied is the second
//! lock, and is tried here with an engine whose first lock is open.

use std::sync::{Arc, OnceLock};

use devstack::store::{Commit, MAX_RECORD, RowSizes, Seq, SledOptions, SledStore, Store, StoreError};
use devstack_dag::{
    Config, Engine, Rejection, Sizer,
    attempt::{Branch, Conflict, Feedback, Left, Outcome, Report, Skipped, Usage},
    bounds::{self, Limit},
    command::{Command, HostReport, Job, Quarantine, ShardReport},
    effect::Timer,
    fact::{Fact, FactKind},
    ids::{AttemptId, BlobId, CommitId, HostName, MergeId, ProjectName, RoleName, TaskId, TaskRef, Text, Timestamp},
    pins::PinChange,
    plan::{Executor, PlanSpec, ProfileUse, Review, TaskSpec},
    record::{HostRecord, Record},
};
use proptest::prelude::*;

#[path = "../../dag/tests/common/mod.rs"]
mod common;

const FACT_MAX: usize = 12 * 1024;
/// Names and numbers that come later take the rest.
const RECORD_MAX: usize = MAX_RECORD - 512;

fn name(of: &str) -> String {
    format!("{of}{}", "n".repeat(60 - of.len()))
}

fn project() -> ProjectName {
    ProjectName::new(&name("p")).unwrap()
}

fn host() -> HostName {
    HostName::new(&name("h")).unwrap()
}

fn words(bytes: usize) -> String {
    "ä".repeat(bytes / 2)
}

fn reason() -> String {
    words(bounds::Reason::BYTES)
}

fn inline() -> Text {
    Text::Inline(words(Text::INLINE_MAX).into())
}

fn commit(number: u8) -> CommitId {
    CommitId([number; 20])
}

fn usage() -> Usage {
    let most = Some(u64::MAX);
    Usage {
        input_tokens: most,
        output_tokens: most,
        cache_read_tokens: most,
        cache_write_tokens: most,
        cost_micros: most,
        turns: Some(u32::MAX),
        session: Some(words(bounds::SessionName::BYTES).into()),
    }
}

fn left() -> Left {
    let (items, bytes) = (bounds::LeftBehind::ITEMS, bounds::LeftBehind::BYTES);
    let skipped = Skipped { path: words(bytes).into(), why: words(bytes).into() };
    let branch = Branch { name: words(bytes).into(), commit: commit(9) };
    Left { skipped: vec![skipped; items - 16], more: u32::MAX, branches: vec![branch; 16] }
}

fn conflict(ours: u8, theirs: CommitId) -> Conflict {
    let paths = (0..bounds::ConflictPaths::ITEMS).map(|n| format!("{n:0100}")).collect();
    Conflict { ours: commit(ours), theirs, base: commit(0), paths, text: inline() }
}

fn report_of_host() -> HostReport {
    let named = |n: usize, bytes: usize| format!("{n:0bytes$}");
    HostReport {
        secrets: (0..bounds::SecretNames::ITEMS).map(|n| named(n, bounds::SecretNames::BYTES)).collect(),
        attempts: Vec::new(),
        quarantine: Some(Quarantine { slots: 1, why: reason() }),
        labels: (0..bounds::HostLabels::ITEMS).map(|n| (named(n, 256), words(256))).collect(),
        roles: Vec::new(),
        images: (0..bounds::HostImages::ITEMS).map(|n| named(n, 512)).collect(),
        shards: (0..bounds::HostShards::ITEMS)
            .map(|n| ShardReport { name: named(n, 128), subnet: words(128), ports: 1, capacity: 1 })
            .collect(),
        ..HostReport::new(host(), u32::MAX / 2)
    }
}

/// As much as fits, by what the API takes.
fn held_to() -> PinChange {
    let of = |count: usize| PinChange {
        max_slots: Some(3),
        secrets: Some((0..count).map(|n| format!("{n:0119}")).collect()),
        labels: Some((0..9).map(|n| (format!("{n:0100}"), words(100))).collect()),
        ..PinChange::default()
    };
    static MOST: OnceLock<usize> = OnceLock::new();
    of(*MOST.get_or_init(|| (0..999).take_while(|&count| of(count).fits()).last().unwrap()))
}

/// The largest `n` that is taken.
fn most(mut taken: impl FnMut(usize) -> bool) -> usize {
    let (mut good, mut bad) = (0, 64 * 1024);
    while bad - good > 1 {
        let middle = (good + bad) / 2;
        if taken(middle) { good = middle } else { bad = middle }
    }
    good
}

/// Made once: finding what is taken takes a while.
fn plan() -> PlanSpec {
    static PLAN: OnceLock<PlanSpec> = OnceLock::new();
    PLAN.get_or_init(largest_plan).clone()
}

/// A plan with descriptions as large as they may be, and everything in it that a step can pick up.
fn largest_plan() -> PlanSpec {
    let role = |of: &str| {
        let mut role = common::role(of, 9);
        role.name = RoleName::new(&name(of)).unwrap();
        role.image = Some(words(512).into());
        role.max_cost_micros = Some(u64::MAX);
        role
    };
    let task = |id: &str, prompt: Text| {
        let mut task = common::task("x", &[]);
        task.id = TaskId::new(&name(id)).unwrap();
        task.executor = Executor::Agent(RoleName::new(&name("dev")).unwrap());
        (task.prompt, task.attempts) = (prompt, 2);
        task
    };
    let mut plan = common::repo_plan(vec![task("a", inline()), task("b", Text::Blob(BlobId([1; 32]), 9))]);
    plan.project.name = project();
    plan.project.integration = words(200);
    plan.project.review = Review::Human;
    plan.project.resolver = Some(RoleName::new(&name("res")).unwrap());
    plan.project.roles = vec![role("dev"), role("res")];
    plan.project.budget_micros = Some(u64::MAX);
    let mut profile = (*common::profile("agent", "provider")).clone();
    profile.provider = words(512).into();
    plan.project.roles[0].profile = Some(ProfileUse { name: "agent".into(), model: None, max_turns: None });
    plan.project.profiles = vec![Arc::new(profile)];
    let accepted = |plan: &PlanSpec| Engine::new(Config::default()).step(Timestamp(1), submit(plan.clone())).is_ok();
    for n in 0..plan.tasks.len() {
        let titled = |bytes: usize| TaskSpec { title: words(bytes).into(), ..plan.tasks[n].clone() };
        let bytes = most(|bytes| accepted(&PlanSpec { tasks: vec![titled(bytes)], ..plan.clone() }));
        plan.tasks[n] = titled(bytes);
    }
    let with = |bytes: usize| {
        let mut with = plan.clone();
        with.project.checks = vec![words(bytes)];
        with
    };
    let bytes = most(|bytes| accepted(&with(bytes)));
    with(bytes)
}

fn submit(plan: PlanSpec) -> Command {
    Command::SubmitPlan { plan, head: Some(commit(1)) }
}

/// Something that could be said now, made when it is.
type Saying<'a> = Box<dyn Fn() -> Command + 'a>;

/// Everything that could be said now, each at its longest.
fn sayable<'a>(engine: &'a Engine, plan: &'a PlanSpec) -> Vec<Saying<'a>> {
    let mut all: Vec<Saying<'a>> = vec![
        Box::new(|| Command::ReportHost(report_of_host())),
        Box::new(|| Command::ReportHost(HostReport { quarantine: None, ..report_of_host() })),
        Box::new(|| Command::ReportMember { report: report_of_host(), joined: held_to() }),
        Box::new(|| Command::SetHost { host: host(), change: held_to() }),
        Box::new(|| Command::LoseHost { host: host(), silent_ms: u64::MAX }),
        Box::new(|| Command::Delivered { project: project(), head: commit(1) }),
        Box::new(|| Command::HeadMoved { project: project(), head: commit(7) }),
        Box::new(|| Command::DeliveryBlocked { project: project(), reason: reason() }),
        Box::new(|| Command::SourceConflicted { project: project(), conflict: conflict(1, commit(8)) }),
        Box::new(|| Command::JobFailed { job: Job::Deliver(project()), reason: reason() }),
        Box::new(|| Command::TimerFired(Timer::Retry(Job::Deliver(project())))),
        Box::new(|| Command::ResumeProject(project())),
        Box::new(|| Command::CancelPlan { project: project(), plan: None }),
        Box::new(|| submit(plan.clone())),
        Box::new(|| submit(renamed(plan, engine.plans(&project()).len()))),
    ];
    let merge = engine.merges(&project()).last().map_or(MergeId(1), |merge| merge.id);
    all.push(Box::new(move || Command::MergeLanded { merge, project: project(), head: commit(3) }));
    all.push(Box::new(move || Command::MergeLost { merge, project: project(), head: commit(4) }));
    for task in engine.task_refs(&project(), None) {
        about(engine, &task, &mut all);
    }
    all
}

/// The plan with another role and other tasks, so that the role before is gone with what it spent.
fn renamed(plan: &PlanSpec, number: usize) -> PlanSpec {
    let mut renamed = plan.clone();
    let role = RoleName::new(&name(&format!("r{number}"))).unwrap();
    renamed.project.roles[0].name = role.clone();
    for (n, task) in renamed.tasks.iter_mut().enumerate() {
        task.executor = Executor::Agent(role.clone());
        task.id = TaskId::new(&name(&format!("t{number}x{n}"))).unwrap();
    }
    renamed
}

fn about<'a>(engine: &'a Engine, task: &TaskRef, all: &mut Vec<Saying<'a>>) {
    let record = engine.task(task).unwrap();
    let number = record.attempts;
    let mut say = |what: Box<dyn Fn(TaskRef) -> Command + 'a>| {
        let task = task.clone();
        all.push(Box::new(move || what(task.clone())));
    };
    let message = || Text::Inline(words(64 * 1024).into());
    say(Box::new(Command::StopTask));
    say(Box::new(move |task| Command::RetryTask { task, message: Some(message()) }));
    say(Box::new(move |task| Command::RequestChanges { task, message: message() }));
    say(Box::new(|task| Command::RejectTask { task, reason: words(64 * 1024) }));
    say(Box::new(Command::ApproveTask));
    say(Box::new(move |task| Command::TimerFired(Timer::Backoff(AttemptId { task, number }))));
    if let Some(next) = engine.next_attempt(task) {
        say(Box::new(move |task| Command::ResolveTask { task, number: next.number, commit: commit(6) }));
    }
    if let Some(run) = engine.running(task) {
        let outcomes = [
            Outcome::Exited(0),
            Outcome::Exited(i32::MIN),
            Outcome::Infrastructure(reason()),
            Outcome::Policy(reason()),
            Outcome::Stalled,
            Outcome::RateLimited { reset: Some(Timestamp(u64::MAX)) },
        ];
        for outcome in outcomes {
            for tail in [inline(), Text::Blob(BlobId([7; 32]), u64::MAX)] {
                let outcome = outcome.clone();
                say(Box::new(move |_| {
                    let report = Report {
                        commit: Some(commit(2)),
                        tail: tail.clone(),
                        usage: Some(usage()),
                        left: left(),
                        summary: Some(inline()),
                        held: Some(reason().into()),
                        ..Report::new(run.attempt.clone(), outcome.clone())
                    };
                    Command::FinishAttempt { host: run.host.clone(), report }
                }));
            }
        }
    }
    if let Some((number, theirs)) = record.harvested {
        let head = engine.project(&task.project).and_then(|project| project.head).unwrap_or(commit(1));
        let of = move |task| AttemptId { task, number };
        say(Box::new(move |task| Command::MergePrepared { attempt: of(task), onto: head, candidate: commit(5) }));
        say(Box::new(move |task| Command::MergeConflicted { attempt: of(task), conflict: conflict(1, theirs) }));
        say(Box::new(move |task| Command::MergeRefused { attempt: of(task), reason: reason() }));
        say(Box::new(move |task| Command::JobFailed { job: Job::Prepare(of(task)), reason: reason() }));
        say(Box::new(move |task| Command::TimerFired(Timer::Retry(Job::Prepare(of(task))))));
    }
}

/// One step without the size check; the largest fact and record that it made.
fn step(engine: &mut Engine, now: &mut u64, command: Command) -> (usize, usize) {
    *now += 1;
    let Ok(decision) = engine.step(Timestamp(*now), command) else { return (0, 0) };
    let mut largest = (0, 0);
    for fact in &decision.facts {
        let bytes = RowSizes.fact(fact);
        assert!(bytes <= FACT_MAX, "{bytes} bytes: {fact:?}");
        largest.0 = largest.0.max(bytes);
    }
    for record in decision.touched.iter().filter_map(|key| engine.record(key)) {
        let bytes = RowSizes.record(&record);
        assert!(bytes <= RECORD_MAX, "{bytes} bytes: {record:?}");
        largest.1 = largest.1.max(bytes);
    }
    largest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn facts_and_records_stay_below_their_limits(choices in proptest::collection::vec(any::<prop::sample::Index>(), 200)) {
        let plan = plan();
        let (mut engine, mut now) = (Engine::new(Config::default()), 0);
        let mut largest = (0, 0);
        for first in [submit(plan.clone()), Command::ReportHost(report_of_host())] {
            step(&mut engine, &mut now, first);
        }
        for choice in choices {
            let all = sayable(&engine, &plan);
            let command = all[choice.index(all.len())]();
            drop(all);
            let (fact, record) = step(&mut engine, &mut now, command);
            largest = (largest.0.max(fact), largest.1.max(record));
        }
        // The limits are met, or nothing is tried.
        prop_assert!(largest.0 > FACT_MAX / 2 && largest.1 > MAX_RECORD / 2, "{largest:?}");
    }
}

/// With the first lock open: reasons and feedback of any length.
#[test]
fn what_the_store_would_not_take_is_refused_and_changes_nothing() {
    let open = Config { reason_bytes: usize::MAX, feedback_bytes: usize::MAX, feedback_kept: 99, ..Config::default() };
    let mut engine = Engine::new(open);
    let mut task = common::task("a", &[]);
    task.attempts = u32::MAX;
    let plan = common::plan(vec![task]);
    engine.step_within(Timestamp(1), Command::SubmitPlan { plan, head: None }, &RowSizes).unwrap();
    engine.step_within(Timestamp(2), Command::ReportHost(HostReport::new(host(), 1)), &RowSizes).unwrap();
    let a = common::task_ref("a");
    // A fact that is too large.
    let before: Vec<Record> = engine.records().collect();
    let reject = Command::RejectTask { task: a.clone(), reason: "x".repeat(MAX_RECORD) };
    let refused = engine.step_within(Timestamp(3), reject, &RowSizes).unwrap_err();
    assert_eq!(refused.code(), "DS0225");
    assert!(refused.to_string().starts_with("what is kept of task `p/a` would take 16"), "{refused}");
    assert_eq!(engine.records().collect::<Vec<_>>(), before);
    // Facts that fit, and a record that grows with each until it would not.
    let mut taken = 0;
    let refused = loop {
        let number = engine.task(&a).unwrap().attempts;
        let attempt = AttemptId { task: a.clone(), number };
        let report = Report { tail: inline(), ..Report::new(attempt.clone(), Outcome::Exited(1)) };
        let before: Vec<Record> = engine.records().collect();
        match engine.step_within(Timestamp(4), Command::FinishAttempt { host: host(), report }, &RowSizes) {
            Ok(_) => taken += 1,
            Err(refused) => {
                assert_eq!(engine.records().collect::<Vec<_>>(), before);
                break refused;
            }
        }
        assert!(engine.records().all(|record| RowSizes.record(&record) <= MAX_RECORD));
        engine.step_within(Timestamp(4), Command::TimerFired(Timer::Backoff(attempt)), &RowSizes).unwrap();
    };
    assert!(matches!(refused, Rejection::TooLarge { .. }), "{refused}");
    assert!((6..8).contains(&taken), "up to the limit they are taken: {taken}");
}

/// What an older version did to itself: the fact was refused, so the store never had it.
#[test]
fn a_store_that_refused_what_was_too_large_opens_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let open = || SledStore::open(&path, SledOptions::default()).unwrap();
    let mut store = open();
    let names = |count: usize| (0..count).map(|n| format!("{n:0119}")).collect::<Vec<_>>();
    let fact = |count| Fact {
        at: Timestamp(1),
        kind: FactKind::HostReported { host: host(), slots: 1, secrets: names(count) },
    };
    let term = store.meta().term;
    let refused = store.commit(&[Commit { term, facts: vec![fact(200)], ..Commit::default() }]).unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    // What it did take is over the limits of messages, and is read.
    let record = Record::Host(HostRecord { host: host(), slots: 1, secrets: names(130), quarantine: None });
    let long = Feedback { attempt: 1, text: Text::Inline("x".repeat(9000).into()) };
    let told = FactKind::FeedbackGiven { task: common::task_ref("a"), feedback: vec![long] };
    let session = Usage { session: Some("s".repeat(5000).into()), ..usage() };
    let ended = FactKind::AttemptEnded {
        attempt: common::attempt_id("a", 1),
        outcome: Outcome::Infrastructure("w".repeat(6000)),
        charged: false,
        commit: None,
        usage: Some(session),
    };
    let facts: Vec<Fact> = [told, ended].map(|kind| Fact { at: Timestamp(1), kind }).into();
    let commit = Commit { term, facts: facts.clone(), records: vec![record.clone()], ..Commit::default() };
    store.commit(&[commit]).unwrap();
    drop(store);
    let store = open();
    let loaded = store.load().unwrap();
    assert_eq!((loaded.meta.seq, &loaded.records), (Seq(2), &vec![record]));
    let kept: Vec<Fact> = store.reader().facts(Seq(0), 9).unwrap().facts.into_iter().map(|(_, fact)| fact).collect();
    assert_eq!(kept, facts);
    let engine = Engine::from_records(Config::default(), loaded.records.into_iter()).unwrap();
    assert_eq!(engine.hosts().count(), 1);
}

/// The rejection has an answer for people.
#[test]
fn a_refusal_says_what_to_do() {
    let refused = Rejection::TooLarge { what: "what is kept of task `p/a`".into(), bytes: 20_000, max: MAX_RECORD };
    assert!(refused.hint().contains("shorter"));
    assert_eq!(refused.class(), devstack_dag::Class::State);
}
