//! Any bytes that are a message of a host, or a command of anybody, are decided by an engine in the middle of its work:
//! it does not panic, what it makes of them fits the rows of the store, and a refusal changed nothing.
//! Deliberately absent: the store itself, and who may say what.
#![no_main]

#[allow(dead_code, reason = "only what comes from hosts is read")]
#[path = "../../crates/node/src/wire.rs"]
mod wire;
#[path = "../../dag/tests/common/mod.rs"]
mod common;

use std::sync::OnceLock;

use devstack_dag::{
    Config, Engine, Rejection, Sizer,
    attempt::{Outcome, Report},
    command::{Command, HostReport},
    fact::Fact,
    ids::{AttemptId, CommitId, HostName, ProjectName, TaskId, TaskRef, Text, Timestamp},
    invariants,
    record::Record,
};
use serde::Serialize;
use wire::ToTaskmaster;

/// As rows are written (`src/store/schema.rs`).
const ROW: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<{ 256 << 10 }>,
> = bincode::config::standard().with_limit::<{ 256 << 10 }>();

struct Rows;

fn size(row: &impl Serialize) -> usize {
    bincode::serde::encode_to_vec(row, ROW).map_or(usize::MAX, |bytes| bytes.len())
}

impl Sizer for Rows {
    fn fact(&self, fact: &Fact) -> usize {
        size(fact)
    }
    fn record(&self, record: &Record) -> usize {
        size(record)
    }
    fn max(&self) -> usize {
        16 * 1024
    }
}

fn host() -> HostName {
    HostName::new("h").unwrap()
}

fn task(id: &str) -> TaskRef {
    TaskRef { project: ProjectName::new("p").unwrap(), id: TaskId::new(id).unwrap() }
}

fn step(engine: &mut Engine, at: u64, command: Command) {
    engine.step(Timestamp(at), command).unwrap();
}

/// One task is worked on, one is checked, one has failed, one waits.
fn at_work() -> Engine {
    let mut plan = common::repo_plan(["a", "b", "c", "d"].map(|id| common::task(id, &[])).to_vec());
    plan.project.roles = vec![common::role("dev", 4)];
    plan.project.checks = vec!["check".into()];
    let mut engine = Engine::new(Config::default());
    step(&mut engine, 1, Command::SubmitPlan { plan, head: Some(CommitId([1; 20])) });
    step(&mut engine, 2, Command::ReportHost(HostReport::new(host(), 3)));
    let ended = |id: &str, outcome| Report {
        commit: Some(CommitId([2; 20])),
        tail: Text::Inline("x".repeat(2000).into()),
        ..Report::new(AttemptId { task: task(id), number: 1 }, outcome)
    };
    step(&mut engine, 3, Command::FinishAttempt { host: host(), report: ended("b", Outcome::Exited(0)) });
    step(&mut engine, 4, Command::FinishAttempt { host: host(), report: ended("c", Outcome::Exited(1)) });
    engine
}

/// What the bytes say, about things that exist.
fn command(kind: u8, bytes: &[u8]) -> Option<Command> {
    let of = |kind: u8| AttemptId { task: task(["a", "b", "c", "d"][usize::from(kind >> 4 & 3)]), number: 1 };
    if kind & 1 == 0 {
        return Some(match wire::decode(bytes).ok()? {
            ToTaskmaster::Report(report) => Command::ReportHost(HostReport { host: host(), ..report }),
            ToTaskmaster::Exited { report, .. } if kind & 2 == 0 => {
                Command::FinishAttempt { host: host(), report: Report { attempt: of(kind), ..report } }
            }
            ToTaskmaster::Exited { report, .. } => Command::FinishAttempt { host: host(), report },
            ToTaskmaster::Alive | ToTaskmaster::NoLog { .. } => return None,
        });
    }
    let (command, _) = bincode::serde::decode_from_slice::<Command, _>(bytes, ROW).ok()?;
    Some(match command {
        Command::FinishAttempt { report, .. } => {
            Command::FinishAttempt { host: host(), report: Report { attempt: of(kind), ..report } }
        }
        Command::ReportHost(report) => Command::ReportHost(HostReport { host: host(), ..report }),
        Command::RejectTask { reason, .. } => Command::RejectTask { task: of(kind).task, reason },
        Command::RetryTask { message, .. } => Command::RetryTask { task: of(kind).task, message },
        Command::MergeConflicted { conflict, .. } => Command::MergeConflicted { attempt: of(kind), conflict },
        Command::MergeRefused { reason, .. } => Command::MergeRefused { attempt: of(kind), reason },
        Command::DeliveryBlocked { reason, .. } => Command::DeliveryBlocked { project: of(kind).task.project, reason },
        Command::SourceConflicted { conflict, .. } => {
            Command::SourceConflicted { project: of(kind).task.project, conflict }
        }
        other => other,
    })
}

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    static AT_WORK: OnceLock<Engine> = OnceLock::new();
    let Some(command) = command(input.0, input.1) else { return };
    let mut engine = AT_WORK.get_or_init(at_work).clone();
    let before: Vec<Record> = engine.records().collect();
    match engine.step_within(Timestamp(5), command, &Rows) {
        Ok(decision) => {
            for fact in &decision.facts {
                assert!(size(fact) <= 12 * 1024, "{} bytes: {fact:?}", size(fact));
            }
            for record in decision.touched.iter().filter_map(|key| engine.record(key)) {
                assert!(size(&record) <= 15 * 1024 + 512, "{} bytes: {record:?}", size(&record));
            }
            invariants::check(&engine).unwrap();
        }
        Err(rejection) => {
            assert!(!matches!(rejection, Rejection::TooLarge { .. }), "texts are cut where they are composed");
            assert_eq!(engine.records().collect::<Vec<_>>(), before);
        }
    }
});
