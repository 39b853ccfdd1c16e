//! What crosses between machines is frozen: the bytes of every message stand here. A message whose bytes change breaks
//! nodes of the version before; add a variant at the end instead. And no bytes make the decoder panic or claim much.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fmt::Debug};

use devstack::wire::{self, HostOrder, Introduction, LogOrder, ToHost, ToTaskmaster, Uploaded, Welcome};
use devstack_dag::{
    attempt::{Branch, Conflict, Dependency, Feedback, Left, Order, Outcome, Report, Skipped, Stage, Start, Usage},
    command::{HostReport, Quarantine, ShardReport},
    ids::{AgentName, AttemptId, BlobId, CommitId, HostName, ProjectName, RoleName, TaskId, TaskRef, Text},
    plan::{Limits, Network},
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

fn attempt() -> AttemptId {
    let task = TaskRef { project: ProjectName::new("shop").unwrap(), id: TaskId::new("T-1").unwrap() };
    AttemptId { task, number: 3 }
}

fn commit(byte: u8) -> CommitId {
    CommitId([byte; 20])
}

fn order() -> Box<Order> {
    let text = |text: &str| Text::Inline(text.into());
    Box::new(Order {
        attempt: attempt(),
        stage: Stage::Work,
        agent: AgentName::new("dev1").unwrap(),
        role: RoleName::new("dev").unwrap(),
        title: "t".into(),
        command: vec!["sh".into()],
        prompt: Text::Blob(BlobId([7; 32]), 3000),
        feedback: vec![Feedback { attempt: 2, text: text("f") }],
        conflict: Some(Conflict {
            ours: commit(1),
            theirs: commit(2),
            base: commit(3),
            paths: vec!["p".into()],
            text: text("c"),
        }),
        start: Start::Merging { base: commit(1), theirs: commit(2) },
        secrets: vec!["KEY".into()],
        image: Some("i".into()),
        network: Network::Bridge,
        limits: Limits { memory: Some(1), ..Limits::default() },
        timeout_ms: 4,
        grace_ms: 5,
        idle_timeout_ms: 6,
        profile: None,
        model: Some("m".into()),
        composed: false,
        max_disconnect_ms: None,
        dependencies: vec![],
        more_dependencies: 0,
        whole_prompt: None,
    })
}

/// An order with what version 2 added.
fn order_v2() -> Box<Order> {
    let summary = Some(Text::Inline("s".into()));
    let dependencies = vec![Dependency { id: TaskId::new("D-1").unwrap(), title: "d".into(), summary }];
    Box::new(Order {
        composed: true,
        max_disconnect_ms: Some(7),
        dependencies,
        more_dependencies: 1,
        whole_prompt: Some(Text::Blob(BlobId([8; 32]), 70_000)),
        ..*order()
    })
}

fn report() -> Report {
    let usage = Usage { input_tokens: Some(1), ..Usage::default() };
    Report {
        attempt: attempt(),
        outcome: Outcome::Exited(0),
        commit: Some(commit(9)),
        tail: Text::Inline("out".into()),
        usage: Some(usage),
        ..Report::new(attempt(), Outcome::Exited(0))
    }
}

/// A report with what version 2 added.
fn report_v2() -> Report {
    let skipped = vec![Skipped { path: "dep".into(), why: "a repository of its own".into() }];
    let branches = vec![Branch { name: "fix/x".into(), commit: commit(4) }];
    let left = Left { skipped, more: 2, branches };
    Report { left, summary: Some(Text::Inline("did it".into())), ..report() }
}

fn host_report() -> HostReport {
    let shard = ShardReport { name: "a".into(), subnet: "10.9.0.0/24".into(), ports: 1, capacity: 200 };
    HostReport {
        secrets: vec!["KEY".into()],
        attempts: vec![attempt()],
        quarantine: Some(Quarantine { slots: 1, why: "q".into() }),
        labels: BTreeMap::from([("gpu".into(), "a100".into())]),
        roles: vec![RoleName::new("dev").unwrap()],
        images: vec!["i".into()],
        shards: vec![shard],
        ..HostReport::new(HostName::new("h1").unwrap(), 4)
    }
}

fn to_host() -> Vec<ToHost> {
    vec![
        ToHost::Welcome(Welcome { max_disconnect_ms: 120_000, heartbeat_ms: 2000, log_size: 300 }),
        ToHost::Order(HostOrder::Start(order())),
        ToHost::Order(HostOrder::Stop(attempt())),
        ToHost::Order(HostOrder::Forget(attempt())),
        ToHost::Order(HostOrder::ReportAgain),
        ToHost::Order(HostOrder::Salvage(order())),
        ToHost::SendLog(LogOrder { channel: 1, attempt: attempt(), follow: true }),
        ToHost::CloseLog { channel: 1 },
        ToHost::Removed,
    ]
}

fn to_taskmaster() -> Vec<ToTaskmaster> {
    vec![
        ToTaskmaster::Alive,
        ToTaskmaster::Report(host_report()),
        ToTaskmaster::Exited { report: report(), result: Some(Uploaded { size: 9, digest: [8; 32] }) },
        ToTaskmaster::NoLog { channel: 1, why: Some("w".into()) },
    ]
}

/// What version 2 added.
fn to_host_v2() -> Vec<ToHost> {
    vec![
        ToHost::Order(HostOrder::Start(order_v2())),
        ToHost::Order(HostOrder::Salvage(order_v2())),
        ToHost::Understands(2),
    ]
}

/// What version 2 added.
fn to_taskmaster_v2() -> Vec<ToTaskmaster> {
    vec![ToTaskmaster::Exited { report: report_v2(), result: Some(Uploaded { size: 9, digest: [8; 32] }) }]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The golden file has a line a message. `DEVSTACK_BLESS=1` writes it anew: only for messages that are new. `encode`:
/// how they are written; `None`: this version only reads them.
fn frozen<T>(golden: &str, messages: &[T], encode: Option<fn(&T) -> Vec<u8>>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(golden);
    let lines: Option<Vec<String>> =
        encode.map(|encode| messages.iter().map(|message| hex(&encode(message))).collect());
    if let (Some(lines), Some(_)) = (&lines, std::env::var_os("DEVSTACK_BLESS")) {
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    assert_eq!(messages.len(), known.lines().count());
    for (number, (known, message)) in known.lines().zip(messages).enumerate() {
        if let Some(lines) = &lines {
            assert_eq!(lines[number], known, "the bytes of this message are not those of {golden}: {message:?}");
        }
        let bytes: Vec<u8> =
            (0..known.len() / 2).map(|i| u8::from_str_radix(&known[2 * i..2 * i + 2], 16).unwrap()).collect();
        assert_eq!(wire::decode::<T>(&bytes).as_ref(), Ok(message));
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(wire::decode::<T>(&longer).is_err(), "trailing bytes");
        assert!(wire::decode::<T>(&bytes[..bytes.len() - 1]).is_err() || bytes.len() == 1, "cut short");
    }
}

fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    wire::encode(message).unwrap()
}

#[test]
fn orders_are_frozen() {
    // A Taskmaster is upgraded last: it never writes orders of version 1, and its hosts may read them.
    frozen("to_host.v1", &to_host(), None);
    frozen("to_host.v2", &to_host_v2(), Some(encode));
}

#[test]
fn reports_are_frozen() {
    frozen("to_taskmaster.v1", &to_taskmaster(), Some(|message| wire::encode_for(1, message).unwrap()));
    frozen("to_taskmaster.v2", &to_taskmaster_v2(), Some(encode));
}

#[test]
fn a_taskmaster_of_version_1_is_told_of_the_result_only() {
    let [ended] = &to_taskmaster_v2()[..] else { unreachable!() };
    let told = wire::decode::<ToTaskmaster>(&wire::encode_for(1, ended).unwrap()).unwrap();
    assert_eq!(told, ToTaskmaster::Exited { report: report(), result: Some(Uploaded { size: 9, digest: [8; 32] }) });
}

#[test]
fn a_host_has_no_say_in_what_holds_its_result_back() {
    let report = Report { held: Some("no".into()), ..report_v2() };
    let sent = encode(&ToTaskmaster::Exited { report, result: None });
    let read = wire::decode::<ToTaskmaster>(&sent).unwrap();
    assert_eq!(read, ToTaskmaster::Exited { report: report_v2(), result: None });
}

/// A host says of itself what its Taskmaster shows, whichever of both is a version ahead.
#[test]
fn introductions_are_frozen_and_pass_between_versions() {
    let text = |text: &str| Some(text.to_owned());
    let said = Introduction { version: text("0.1.0"), runtime: text("docker"), sandbox: None };
    let golden = b"\x03\x050.1.0\x06docker\0";
    assert_eq!(said.encode(), golden);
    assert_eq!(Introduction::decode(golden), said);
    let known = Introduction { sandbox: None, runtime: None, ..said.clone() };
    assert_eq!(Introduction::decode(b"\x01\x050.1.0"), known, "of an earlier version");
    assert_eq!(Introduction::decode(b"\x05\x050.1.0\x06docker\0\x03new\0"), said, "of a later version");
    assert_eq!(Introduction::decode(b""), Introduction::default(), "of one that did not introduce itself");
}

#[test]
fn an_introduction_fits_into_a_hello_and_is_shown_in_one_line() {
    let long = Some("ä\n".repeat(500));
    let said = Introduction { version: long.clone(), runtime: long.clone(), sandbox: long };
    assert!(said.encode().len() <= devstack_cluster::ABOUT_MAX);
    let read = Introduction::decode(&said.encode());
    assert!(read.sandbox.is_some_and(|text| text.starts_with("ä ä") && text.len() <= 150));
}

#[test]
fn what_is_over_a_limit_is_refused_by_the_name_of_its_field() {
    let refused = |message: &ToTaskmaster| wire::decode::<ToTaskmaster>(&wire::encode(message).unwrap()).unwrap_err();
    let names = |count: usize| (0..count).map(|n| format!("N{n}")).collect();
    let with = |secrets| ToTaskmaster::Report(HostReport { secrets, ..host_report() });
    assert_eq!(
        refused(&with(names(257))).to_string(),
        "a message is refused: names of secrets: 257 entries; 256 are allowed"
    );
    let body = wire::encode(&with(names(256))).unwrap();
    assert_eq!(wire::decode(&body), Ok(with(names(256))));
    // Who sends cuts first.
    let body = wire::encode(&with(names(300)).fit()).unwrap();
    assert_eq!(wire::decode(&body), Ok(with(names(256))));
    let long = "ä".repeat(5000);
    let outcome = Outcome::Infrastructure(long.clone());
    let tail = Text::Inline(long.clone().into());
    let usage = Some(Usage { session: Some(long.into()), ..Usage::default() });
    let exited = ToTaskmaster::Exited { report: Report { outcome, tail, usage, ..report() }, result: None };
    assert!(refused(&exited).to_string().starts_with("a message is refused: a reason: 10000 bytes"));
    assert!(wire::decode::<ToTaskmaster>(&wire::encode(&exited.fit()).unwrap()).is_ok());
    let long = "x".repeat(5000);
    let labels = BTreeMap::from([("gpu".to_owned(), long.clone())]);
    let shards = vec![ShardReport { name: long.clone(), subnet: String::new(), ports: 0, capacity: 0 }];
    let branches = vec![Branch { name: long.clone().into(), commit: commit(1) }];
    let roles = (0..257).map(|n| RoleName::new(&format!("r{n}")).unwrap()).collect();
    let summary = Some(Text::Inline(long.clone().into()));
    let exited = |report: Report| ToTaskmaster::Exited { report, result: None };
    for (message, field) in [
        (ToTaskmaster::Report(HostReport { labels, ..host_report() }), "labels: 5000 bytes"),
        (ToTaskmaster::Report(HostReport { shards, ..host_report() }), "shards: 5000 bytes"),
        (ToTaskmaster::Report(HostReport { images: vec![long.clone()], ..host_report() }), "images: 5000 bytes"),
        (ToTaskmaster::Report(HostReport { roles, ..host_report() }), "roles: 257 entries"),
        (exited(Report { summary, ..report() }), "a text: 5000 bytes"),
        (exited(Report { left: Left { branches, ..Left::default() }, ..report() }), "what an attempt left: 5000 bytes"),
        (ToTaskmaster::NoLog { channel: 1, why: Some(long) }, "a reason: 5000 bytes"),
    ] {
        let why = refused(&message).to_string();
        assert!(why.contains(field), "{why}");
        assert!(wire::decode::<ToTaskmaster>(&wire::encode(&message.fit()).unwrap()).is_ok(), "{field}");
    }
}

#[test]
fn what_a_newer_node_says_is_refused_by_name() {
    let error = wire::decode::<ToHost>(&[250]).unwrap_err().to_string();
    assert!(error.contains("newer version"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = wire::decode::<ToHost>(&bytes);
        let _ = wire::decode::<ToTaskmaster>(&bytes);
        let _ = Introduction::decode(&bytes);
    }

    #[test]
    fn a_flipped_byte_breaks_nothing(which in 0usize..13, at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut all: Vec<Vec<u8>> = to_host().iter().map(|m| wire::encode(m).unwrap()).collect();
        all.extend(to_taskmaster().iter().map(|m| wire::encode(m).unwrap()));
        let bytes = &mut all[which];
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        let _ = wire::decode::<ToHost>(bytes);
        let _ = wire::decode::<ToTaskmaster>(bytes);
    }
}
