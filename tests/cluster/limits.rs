//! A member that says more than a message may hold: each list and text at ten times its limit. Its link is closed with
//! the reason, which is shown; the Taskmaster lives on and everybody else is served.
//! Deliberately absent: the limits themselves (dag/src/bounds.rs) and what fits but must not be believed (`hostile`).

use devstack::wire::ToTaskmaster;
use devstack_dag::{
    attempt::{Left, Outcome, Report, Skipped, Usage},
    bounds::{self, Limit},
    command::{HostReport, Quarantine, ShardReport},
    ids::{HostName, Text},
};

use crate::{
    cluster::{Cluster, NEVER},
    evil::{Evil, attempt},
};

fn long<L: Limit>() -> String {
    "x".repeat(10 * L::BYTES)
}

fn many<L: Limit, T>(one: impl Fn(usize) -> T) -> Vec<T> {
    (0..10 * L::ITEMS).map(one).collect()
}

fn of_host(change: impl FnOnce(&mut HostReport)) -> ToTaskmaster {
    let mut report = HostReport::new(HostName::new("evil").unwrap(), 0);
    change(&mut report);
    ToTaskmaster::Report(report)
}

fn of_attempt(change: impl FnOnce(&mut Report)) -> ToTaskmaster {
    let mut report = Report::new(attempt("a"), Outcome::Exited(0));
    change(&mut report);
    ToTaskmaster::Exited { report, result: None }
}

/// Messages with a list or text each, and how the reason begins. Each costs its sender a wait before it may dial again:
/// the other fields are refused in `tests/wire`.
fn too_much() -> Vec<(ToTaskmaster, &'static str)> {
    let shard = |n: usize| ShardReport { name: format!("s{n}"), subnet: String::new(), ports: 0, capacity: 0 };
    let skipped = |n: usize| Skipped { path: format!("p{n}").into(), why: "w".into() };
    let label = |n: usize| (format!("{n}"), String::new());
    vec![
        (
            of_host(|r| r.secrets = many::<bounds::SecretNames, _>(|n| format!("N{n}"))),
            "names of secrets: 2560 entries",
        ),
        (of_host(|r| r.secrets = vec![long::<bounds::SecretNames>()]), "names of secrets: 1280 bytes"),
        (of_host(|r| r.attempts = many::<bounds::HeldAttempts, _>(|_| attempt("a"))), "attempts held: 40960 entries"),
        (of_host(|r| r.quarantine = Some(Quarantine { slots: 1, why: long::<bounds::Reason>() })), "a reason: 40960"),
        (of_host(|r| r.labels = many::<bounds::HostLabels, _>(label).into_iter().collect()), "labels: 640 entries"),
        (of_host(|r| r.images = many::<bounds::HostImages, _>(|n| format!("i{n}"))), "images: 10240 entries"),
        (of_host(|r| r.shards = many::<bounds::HostShards, _>(shard)), "shards: 2560 entries"),
        (of_attempt(|r| r.outcome = Outcome::Policy(long::<bounds::Reason>())), "a reason: 40960 bytes"),
        (of_attempt(|r| r.tail = Text::Inline(long::<bounds::InlineText>().into())), "a text: 20480 bytes"),
        (
            of_attempt(|r| {
                let session = Some(long::<bounds::SessionName>().into());
                r.usage = Some(Usage { session, ..Usage::default() });
            }),
            "usage.session: 1280 bytes",
        ),
        (
            of_attempt(|r| {
                let skipped = many::<bounds::LeftBehind, _>(skipped);
                r.left = Left { skipped, ..Left::default() };
            }),
            "what an attempt left: 1000 entries",
        ),
    ]
}

#[test]
fn who_says_too_much_is_cut_off_with_the_reason_and_nothing_ends() {
    let mut cluster = Cluster::new(1, 1, NEVER);
    cluster.prepare_host("evil", "slots = 1\n");
    cluster.submit(&[("a", &[])]);
    cluster.begun("a", 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut evil = Evil::connect(&cluster).await;
        evil.say(&of_host(|_| ()));
        for (message, why) in too_much() {
            evil.say(&message);
            evil.is_cut_off().await;
            let shown = cluster.ask(&["host", "show", "evil"])["host"]["cut_off"].clone();
            assert!(
                shown["at"].is_string() && shown["why"].as_str().is_some_and(|said| said.contains(why)),
                "{shown}: {why}"
            );
        }
    });
    assert!(cluster.says(&["host", "show", "evil"]).contains("cut off"));
    let log = cluster.log("taskmaster");
    for (_, why) in too_much() {
        assert!(log.lines().any(|line| line.contains("host=evil") && line.contains(why)), "the log says why: {why}");
    }
    assert!(!cluster.taskmaster.as_mut().unwrap().is_over(), "it is the same process");
    assert_eq!(cluster.attempts("a"), 1);
    cluster.meeting.open_all();
    cluster.completed();
    cluster.check();
    assert!(!cluster.log("h1").contains("disconnected"), "it was served all the time");
}
