//! Facts, records and commits to store. Their content is arbitrary but complete.

use std::sync::Arc;

use devstack::store::{Commit, RequestKey, Seq, SledOptions, SledStore, StoredReply, Term, body_hash};
use devstack_dag::{
    attempt::{Conflict, Feedback},
    fact::{Fact, FactKind},
    ids::{AgentName, CommitId, HostName, ProjectName, RoleName, TaskId, TaskRef, Text, Timestamp},
    plan::{Executor, Priority, RetryFrom, TaskSpec},
    record::{BlockedReason, HostRecord, Kind, Record, RecordKey, Status, TaskRecord},
};

pub(crate) fn shop() -> ProjectName {
    ProjectName::new("shop").unwrap()
}

pub(crate) fn task_id(number: usize) -> TaskId {
    TaskId::new(&format!("T-{number:06}")).unwrap()
}

pub(crate) fn task_key(number: usize) -> RecordKey {
    RecordKey::Task(TaskRef { project: shop(), id: task_id(number) })
}

pub(crate) fn spec(number: usize) -> TaskSpec {
    TaskSpec {
        id: task_id(number),
        title: format!("Task number {number}").into(),
        prompt: Text::Inline(format!("Do what number {number} asks for, and do it well.").into()),
        dependencies: if number == 0 { Box::new([]) } else { Box::new([task_id(number - 1)]) },
        priority: Priority::Medium,
        executor: Executor::Agent(RoleName::new("dev").unwrap()),
        command: Some(Box::new(["/bin/true".into()])),
        timeout_ms: 1_800_000,
        grace_ms: 10_000,
        idle_timeout_ms: 900_000,
        attempts: 3,
        retry_from: RetryFrom::Last,
        allow_empty: false,
        mass_delete: false,
        may_change: Box::default(),
    }
}

pub(crate) fn task(number: usize) -> TaskRecord {
    TaskRecord {
        project: shop(),
        seq: number as u32,
        spec: Arc::new(spec(number)),
        kind: Kind::Work,
        plan: 1,
        status: Status::Todo,
        blocked: None,
        rejected: None,
        attempts: 0,
        charged: 0,
        uncharged: 0,
        limited: 0,
        backoff_ms: None,
        harvested: None,
        agent: None,
        candidate: None,
        approved_at: None,
        merging: None,
        merge_commit: None,
        resolved_by: None,
        feedback: Vec::new(),
        delivered_at: None,
        created_at: Timestamp(1_700_000_000_000),
        updated_at: Timestamp(1_700_000_000_000),
        held: None,
        summary: None,
        stalls: 0,
    }
}

/// A task record with every field in use.
pub(crate) fn full_task() -> TaskRecord {
    let commit = |byte| CommitId([byte; 20]);
    TaskRecord {
        kind: Kind::Resolve {
            resolves: task_id(1),
            conflict: Box::new(Conflict {
                ours: commit(1),
                theirs: commit(2),
                base: commit(3),
                paths: vec!["src/lib.rs".into()],
                text: Text::Inline("both sides".into()),
            }),
        },
        status: Status::Blocked,
        blocked: Some((BlockedReason::Conflict, "src/lib.rs clashes".into())),
        rejected: Some("superseded".into()),
        attempts: 4,
        charged: 2,
        uncharged: 1,
        limited: 3,
        backoff_ms: Some(5_000),
        harvested: Some((3, commit(4))),
        agent: Some(AgentName::new("dev1").unwrap()),
        candidate: Some((commit(5), commit(6))),
        approved_at: Some(Timestamp(1_700_000_000_008)),
        merging: Some(devstack_dag::ids::MergeId(7)),
        merge_commit: Some(commit(8)),
        resolved_by: Some(task_id(9)),
        feedback: vec![Feedback { attempt: 3, text: Text::Inline("exit 1".into()) }],
        delivered_at: Some(Timestamp(1_700_000_000_009)),
        ..task(2)
    }
}

pub(crate) fn task_record(number: usize) -> Record {
    Record::Task(Box::new(task(number)))
}

/// A task that was updated: told apart by its count of attempts.
pub(crate) fn updated(number: usize, attempts: u32) -> Record {
    Record::Task(Box::new(TaskRecord { attempts, ..task(number) }))
}

/// A task whose encoded record is about this many bytes more than a plain one.
pub(crate) fn heavy(number: usize, bytes: usize) -> Record {
    let mut task = task(number);
    task.spec = Arc::new(TaskSpec { prompt: Text::Inline("x".repeat(bytes).into()), ..spec(number) });
    Record::Task(Box::new(task))
}

pub(crate) fn host(name: &str, slots: u32) -> Record {
    Record::Host(HostRecord {
        host: HostName::new(name).unwrap(),
        slots,
        secrets: vec!["KEY".into()],
        quarantine: None,
    })
}

pub(crate) fn host_key(name: &str) -> RecordKey {
    RecordKey::Host(HostName::new(name).unwrap())
}

/// A fact that adds these tasks.
pub(crate) fn added(at: u64, tasks: std::ops::Range<usize>) -> Fact {
    let tasks = tasks.map(|number| Arc::new(spec(number))).collect();
    Fact { at: Timestamp(at), kind: FactKind::TasksAdded { project: shop(), plan: 1, tasks } }
}

/// Tasks in one fact: it stays below 16 KiB.
pub(crate) const TASKS_A_FACT: usize = 100;

/// What submitting a plan of this many tasks commits.
pub(crate) fn plan(expected_seq: Seq, tasks: usize) -> Commit {
    let starts = (0..tasks).step_by(TASKS_A_FACT);
    Commit {
        expected_seq,
        facts: starts.map(|start| added(7, start..(start + TASKS_A_FACT).min(tasks))).collect(),
        records: (0..tasks).map(task_record).collect(),
        ..Commit::default()
    }
}

/// A small commit: one fact, one record.
pub(crate) fn step(expected_seq: u64, number: usize) -> Commit {
    Commit {
        term: Term(0),
        expected_seq: Seq(expected_seq),
        facts: vec![added(expected_seq + 1, number..number + 1)],
        records: vec![task_record(number)],
        ..Commit::default()
    }
}

pub(crate) fn request(key: &str) -> RequestKey {
    RequestKey::new(key).unwrap()
}

pub(crate) fn reply(body: &str, answer: &str) -> StoredReply {
    StoredReply { body_hash: body_hash(body.as_bytes()), reply: answer.into() }
}

pub(crate) fn open(dir: &std::path::Path) -> SledStore {
    SledStore::open(dir, SledOptions::default()).unwrap()
}

/// Records in the order of their keys, to compare.
pub(crate) fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(Record::key);
    records
}

/// The database itself, without the store around it, once sled's threads have let go of it.
pub(crate) fn database(dir: &std::path::Path) -> sled::Db {
    let config = sled::Config::default().path(dir.join("sled")).segment_size(2 << 20);
    let started = std::time::Instant::now();
    loop {
        match config.open() {
            Ok(db) => return db,
            Err(error) if started.elapsed().as_secs() > 60 => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}
