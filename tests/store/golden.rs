//! The bytes of each schema version, frozen: a store written then opens for ever, and nothing writes the newest
//! differently.
//!
//! `DEVSTACK_REGENERATE_GOLDEN=1` writes the newest file anew. That is right before a release that people have stores
//! of, and never after: then a changed type needs a new schema version (see `src/store/schema.rs`) and a new file
//! beside it.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use devstack::store::{Commit, InstallationLabel, Meta, Seq, SledOptions, SledStore, Store, Term};
use devstack_dag::{
    attempt::{Branch, Left, Outcome, Skipped, Stage, Start, Usage},
    fact::{Fact, FactKind},
    ids::{AgentName, AttemptId, CommitId, HostName, MergeId, RoleName, TaskRef, Text, Timestamp},
    plan::{Limits, Network, ProfileUse, ProjectSpec, Review, RoleSpec, TaskSpec, VerifyOn},
    profile::{Limit, Measure, Price, Profile, PromptBy, Reading, SecretFile, Setting, When},
    record::{
        AttemptRecord, Drain, HostIntentRecord, MergeRecord, MergeState, Pins, PlanRecord, ProjectRecord,
        ProviderRecord, Record, Spent, TaskRecord,
    },
};

use crate::sample::*;

/// The version that is written.
const NEWEST: u8 = 3;

fn golden(version: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/store/golden/v{version}.txt"))
}

/// As a version could say it: roles have labels since version 2, and a project its protected paths since version 3.
fn project(version: u8) -> ProjectSpec {
    let labels: &[(String, String)] = if version < 2 { &[] } else { &[("gpu".into(), "a100".into())] };
    ProjectSpec {
        name: shop(),
        source: Some("/srv/shop".into()),
        base: Some("main".into()),
        integration: "dev".into(),
        checks: vec!["make test".into()],
        review: Review::Human,
        resolver: Some(RoleName::new("senior").unwrap()),
        roles: vec![RoleSpec {
            name: RoleName::new("dev").unwrap(),
            count: 2,
            command: vec!["agent".into(), "-p".into()],
            image: Some("devstack/agent".into()),
            secrets: vec!["KEY".into()],
            network: Network::Bridge,
            limits: Limits { memory: Some(4 << 30), cpu_millis: Some(2_000), pids: Some(1_024) },
            profile: Some(ProfileUse { name: "cli".into(), model: Some("m".into()), max_turns: Some(300) }),
            max_cost_micros: Some(2_500_000),
            labels: labels.iter().cloned().collect(),
            max_disconnect_ms: (version >= 3).then_some(600_000),
        }],
        profiles: vec![Arc::new(profile())],
        budget_micros: Some(10_000_000),
        protected: if version < 3 { Vec::new() } else { vec![".github/**".into()] },
        verify_on: if version < 3 { VerifyOn::Any } else { VerifyOn::OtherHost },
        prompt_template: (version >= 3).then(|| Text::Inline("{title}".into())),
    }
}

/// Every field in use, every kind of rule.
fn profile() -> Profile {
    let when = |path: &str| When([(path.into(), ["a".into(), "true".into()].into())].into());
    Profile {
        name: "cli".into(),
        provider: "acme".into(),
        command: ["agent".into(), "{model}".into()].into(),
        arguments: [(Setting::MaxCost, ["-l".into(), "{max_cost}".into()].into())].into(),
        prompt: PromptBy::Argument,
        env: [("X".into(), "{home}/x".into())].into(),
        secrets: [["A".into(), "B".into()].into()].into(),
        secret_files: [SecretFile { secret: "B".into(), path: ".b".into() }].into(),
        endpoints: ["acme.example".into()].into(),
        reading: Reading {
            result: when("type"),
            error: when("is_error"),
            add: true,
            fields: [(Measure::Turns, "n".into())].into(),
            input_includes_cached: true,
            session: Some((when("type"), "id".into())),
            text: Some("x".into()),
            limits: [Limit::Line { when: when("type"), reset: Some("at".into()) }, Limit::Text("429".into())].into(),
            grace_ms: Some(10_000),
        },
        prices: [Price { model: "m".into(), input: 1, cache_read: 2, cache_write: 3, output: 4 }].into(),
    }
}

/// One of every kind of record, every field in use.
fn records(version: u8) -> Vec<Record> {
    let commit = |byte| CommitId([byte; 20]);
    let attempt = AttemptId { task: TaskRef { project: shop(), id: task_id(2) }, number: 300 };
    let mut records = vec![
        Record::Project(ProjectRecord {
            spec: project(version),
            paused: true,
            head: Some(commit(1)),
            delivered: Some(commit(2)),
            delivery_blocked: Some("dev is checked out".into()),
            plans: 3,
            merges: 70_000,
            spent: vec![Spent {
                role: RoleName::new("dev").unwrap(),
                attempts: 9,
                unknown: 1,
                input_tokens: Some(70_000),
                output_tokens: None,
                cache_read_tokens: Some(0),
                cache_write_tokens: None,
                cost_micros: Some(1),
                dearest_micros: Some(1),
            }],
        }),
        Record::Provider(ProviderRecord {
            provider: "acme".into(),
            until: Some(Timestamp(1_700_000_000_003)),
            after_ms: 60_000,
            times: 2,
            reason: "come back later".into(),
        }),
        Record::Plan(PlanRecord {
            project: shop(),
            number: 3,
            added: 2,
            updated: 1,
            family: 2,
            cancelled: true,
            at: Timestamp(1_700_000_000_000),
        }),
        Record::Task(Box::new(held_task(version))),
        task_record(3),
        Record::Attempt(Box::new(AttemptRecord {
            attempt: attempt.clone(),
            stage: Stage::Check,
            host: HostName::new("h1").unwrap(),
            agent: AgentName::new("dev1").unwrap(),
            role: RoleName::new("dev").unwrap(),
            start: Start::Merging { base: commit(3), theirs: commit(4) },
            image: Some("agent@sha256:00".into()),
            outcome: Some(Outcome::Infrastructure("engine gone".into())),
            charged: true,
            stopping: true,
            commit: Some(commit(5)),
            usage: Some(Usage {
                input_tokens: Some(1),
                output_tokens: Some(1_000),
                cache_read_tokens: Some(0),
                cache_write_tokens: None,
                cost_micros: Some(1_000_000),
                turns: Some(7),
                session: Some("s-1".into()),
            }),
            started_at: Timestamp(1_700_000_000_001),
            ended_at: Some(Timestamp(1_700_000_000_002)),
            left: (version >= 3).then(|| Box::new(left())),
        })),
        Record::Merge(Box::new(MergeRecord {
            project: shop(),
            id: MergeId(9),
            attempt,
            commit: commit(6),
            onto: commit(7),
            candidate: commit(8),
            state: MergeState::Landed,
            at: Timestamp(1_700_000_000_003),
        })),
        host("h1", 2),
    ];
    if version >= 3 {
        records.push(Record::HostIntent(HostIntentRecord {
            host: HostName::new("h1").unwrap(),
            drain: Some(Drain { since: Timestamp(1_700_000_000_006), deadline_ms: Some(60_000) }),
            pins: Some(Box::new(pins())),
        }));
    }
    records
}

/// A task with every field that the version has.
fn held_task(version: u8) -> TaskRecord {
    let task = full_task();
    if version < 3 {
        return task;
    }
    let spec = TaskSpec { mass_delete: true, may_change: Box::new([".github/**".into()]), ..(*task.spec).clone() };
    let summary = Some(Text::Inline("did it".into()));
    TaskRecord { spec: Arc::new(spec), held: Some("look at it".into()), summary, stalls: 1, ..task }
}

fn left() -> Left {
    let skipped = vec![Skipped { path: "dep/x".into(), why: "a repository of its own".into() }];
    Left { skipped, more: 300, branches: vec![Branch { name: "fix/x".into(), commit: CommitId([7; 20]) }] }
}

fn pins() -> Pins {
    Pins {
        max_slots: 4,
        labels: [("gpu".into(), "a100".into())].into(),
        roles: vec![RoleName::new("dev").unwrap()],
        projects: vec![shop()],
        secrets: vec!["KEY".into()],
    }
}

fn facts(version: u8) -> Vec<Fact> {
    let described = FactKind::ProjectDescribed { spec: project(version), head: Some(CommitId([1; 20])) };
    let mut long = added(1_700_000_000_005, 0..2);
    if let FactKind::TasksAdded { tasks, .. } = &mut long.kind {
        let prompt = Text::Blob(devstack_dag::ids::BlobId([9; 32]), 5_000);
        tasks[1] = Arc::new(TaskSpec { prompt, ..(*tasks[1]).clone() });
    }
    let mut facts = vec![Fact { at: Timestamp(1_700_000_000_004), kind: described }, long];
    if version >= 3 {
        let task = TaskRef { project: shop(), id: task_id(2) };
        let attempt = AttemptId { task: task.clone(), number: 300 };
        let host = HostName::new("h1").unwrap();
        let kinds = [
            FactKind::AttemptLeft { attempt, left: left(), summary: Some(Text::Inline("did it".into())) },
            FactKind::TaskHeld { task, why: Some("look at it".into()) },
            FactKind::HostPinned { host, pins: Some(Box::new(pins())) },
        ];
        facts.extend(kinds.map(|kind| Fact { at: Timestamp(1_700_000_000_007), kind }));
    }
    facts
}

fn meta(version: u8) -> Meta {
    let label = InstallationLabel([0xab; 16]);
    Meta {
        seq: Seq(1_000 + facts(version).len() as u64),
        first: Seq(1_001),
        term: Term(4),
        last_time: Timestamp(1_700_000_000_005),
        label,
    }
}

fn content() -> Commit {
    Commit {
        expected_seq: Seq(1_000),
        replies: vec![(request("request-1"), reply("body", "answer"))],
        facts: facts(NEWEST),
        records: records(NEWEST),
        ..Commit::default()
    }
}

/// The rows of a store's database, by hexadecimal key.
fn rows(dir: &std::path::Path) -> BTreeMap<String, String> {
    let db = database(dir);
    db.iter().map(Result::unwrap).map(|(key, row)| (hex(&key), hex(&row))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// What this version writes: the rows of a small store, and a digest of the chunks of a large commit.
fn written() -> BTreeMap<String, String> {
    let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(small.path()).restore(&meta(NEWEST), &content()).unwrap();
    open(large.path()).restore(&meta(NEWEST), &plan(Seq(0), 2_000)).unwrap();
    let mut all = rows(small.path());
    let mut chunks = blake3::Hasher::new();
    for (key, row) in rows(large.path()).iter().filter(|(key, _)| key.starts_with("63")) {
        chunks.update(key.as_bytes());
        chunks.update(row.as_bytes());
    }
    all.insert("chunks".into(), chunks.finalize().to_string());
    all
}

fn kept(version: u8) -> BTreeMap<String, String> {
    let text = fs::read_to_string(golden(version)).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(key, row)| (key.into(), row.into())).collect()
}

#[test]
fn the_newest_version_is_written_as_ever() {
    let written = written();
    if std::env::var_os("DEVSTACK_REGENERATE_GOLDEN").is_some() {
        fs::create_dir_all(golden(NEWEST).parent().unwrap()).unwrap();
        fs::write(golden(NEWEST), written.iter().map(|(key, row)| format!("{key} {row}\n")).collect::<String>())
            .unwrap();
    }
    for (key, row) in kept(NEWEST) {
        assert_eq!(written.get(&key), Some(&row), "the row under {key}");
    }
    assert_eq!(written.len(), kept(NEWEST).len());
}

#[test]
fn a_store_of_every_version_opens() {
    (1..=NEWEST).for_each(opens);
}

fn opens(version: u8) {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let db = database(dir.path());
    for (key, row) in kept(version).iter().filter(|(key, _)| *key != "chunks") {
        db.insert(unhex(key), unhex(row)).unwrap();
    }
    db.flush().unwrap();
    drop(db);
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    assert_eq!(store.meta(), meta(version));
    assert_eq!(sorted(store.load().unwrap().records), sorted(records(version)));
    let page = store.reader().facts(Seq(1_000), 9).unwrap();
    assert_eq!(page.facts.into_iter().map(|(_, fact)| fact).collect::<Vec<_>>(), facts(version));
    assert_eq!(store.reader().reply(&request("request-1")).unwrap(), Some(reply("body", "answer")));
}
