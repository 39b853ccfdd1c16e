//! A member with a valid certificate that says what it likes: it speaks for another host, of attempts that are not its
//! own, and nonsense. Nothing comes of it, the others stay served, and the log names it.
//! Deliberately absent: one that claims, holds and brings too much of its own (`members`), and peers that break the
//! protocol of links (cluster/tests/links).

use axum::{
    body::{Body, Bytes},
    http::{Method, Request},
};
use devstack::wire::{self, HostOrder, ToTaskmaster, Uploaded};
use devstack_dag::{command::HostReport, ids::HostName};

use crate::{
    cluster::{Cluster, NEVER},
    evil::{Evil, Told, attempt, done, own_report},
    process::Process,
};

#[test]
fn a_hostile_host_harms_nobody_else() {
    let mut cluster = Cluster::new(1, 1, NEVER);
    cluster.prepare_host("evil", "slots = 1\n");
    cluster.meeting.script("a", "echo \"honest work\"");
    cluster.submit(&[("a", &[])]);
    cluster.begun("a", 1);
    let follow = cluster.command(&Cluster::program(), &["task", "logs", "--follow", "a"]);
    let mut follow = Process::start(follow, &cluster.path("followed.log"));
    cluster.until("its log is followed", |cluster| cluster.log("followed").contains("honest work"));

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut evil = runtime.block_on(async {
        let mut evil = Evil::connect(&cluster).await;
        foreign(&mut evil).await;
        nonsense(&mut evil).await;
        evil
    });
    // A task of its own, since the honest host is full.
    runtime.block_on(async { evil.say(&own_report(1, Vec::new())) });
    cluster.submit(&[("a", &[]), ("b", &[])]);
    runtime.block_on(lies(&mut evil));
    // It takes nothing more.
    runtime.block_on(async { evil.say(&own_report(0, Vec::new())) });
    let of_b = |cluster: &Cluster| cluster.ask(&["task", "show", "b"])["task"]["attempt_list"][0].clone();
    cluster.until("its lie is seen through", |cluster| of_b(cluster)["outcome"].is_string());
    assert_ne!(of_b(&cluster)["outcome"], "done");
    assert!(!cluster.is_pinned("b", 1));

    assert_eq!(cluster.attempts("a"), 1);
    cluster.meeting.open_all();
    cluster.until("following ends", |_| follow.is_over());
    assert!(!cluster.log("followed").contains("evil"));
    cluster.completed();
    cluster.check();
    assert!(!cluster.log("h1").contains("disconnected"), "it was served all the time");
    let log = cluster.log("taskmaster");
    for why in ["it reports as h1", "unknown message kind 99", "cannot decode a message"] {
        let named = log.lines().any(|line| line.contains("host=evil") && line.contains(why));
        assert!(named, "the log names the peer: {why}");
    }
}

/// It speaks for another, and reaches for what is not its own.
async fn foreign(evil: &mut Evil) {
    evil.say(&ToTaskmaster::Report(HostReport::new(HostName::new("h1").unwrap(), 9)));
    evil.is_cut_off().await;
    evil.say(&ToTaskmaster::Exited { report: done("a"), result: None });
    evil.say(&ToTaskmaster::Exited { report: done("a"), result: Some(Uploaded { size: 1, digest: [0; 32] }) });
    evil.say(&own_report(0, vec![attempt("a")]));
    // It is to end what it says it has; that has no meaning for the one who really has it.
    while !matches!(evil.order().await, HostOrder::Forget(forgotten) if forgotten == attempt("a")) {}
    let digest = blake3::hash(b"x").to_hex();
    let result = format!("/v1/nodes/attempts/shop/a/1/result?size=1&offset=0&digest={digest}");
    let bundle = format!("/v1/nodes/repos/shop/bundle?want={}", "0".repeat(40));
    for (method, path) in [
        (Method::POST, result.as_str()),
        (Method::POST, "/v1/nodes/attempts/shop/a/1/log"),
        (Method::GET, "/v1/nodes/repos/shop"),
        (Method::GET, bundle.as_str()),
        (Method::GET, "/v1/tasks"),
        (Method::POST, "/v1/hosts/h1/drain"),
    ] {
        assert_eq!(evil.ask(method, path, Body::from("x")).await, 403, "{path}");
    }
    for channel in 0..4 {
        evil.ask(Method::POST, &format!("/v1/nodes/logs/{channel}"), Body::from("evil words")).await;
    }
}

/// What nobody understands.
async fn nonsense(evil: &mut Evil) {
    for (kind, body) in [
        (99, vec![]),
        (wire::TO_TASKMASTER, vec![0xff; 1000]),
        (wire::TO_TASKMASTER, [wire::encode(&ToTaskmaster::Alive).unwrap(), vec![0]].concat()),
    ] {
        evil.send(kind, body);
        evil.is_cut_off().await;
    }
}

/// Of an attempt that is its own: a log without an end, a result that is none, and a report of it.
async fn lies(evil: &mut Evil) {
    while !matches!(evil.order().await, HostOrder::Start(order) if order.attempt == attempt("b")) {}
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 << 10])));
    let request = Request::post("/v1/nodes/attempts/shop/b/1/log").body(Body::from_stream(endless)).unwrap();
    // Refused, or cut off before the refusal could be read.
    if let Ok(answer) = evil.https.send(request).await {
        assert!(!answer.status().is_success(), "{}", answer.status());
    }
    let bundle = vec![7_u8; 100_000];
    let digest = blake3::hash(&bundle);
    let size = bundle.len() as u64;
    let path = format!("/v1/nodes/attempts/shop/b/1/result?size={size}&offset=0&digest={}", digest.to_hex());
    assert_eq!(evil.ask(Method::POST, &path, Body::from(bundle)).await, 200);
    let result = Some(Uploaded { size, digest: *digest.as_bytes() });
    evil.say(&ToTaskmaster::Exited { report: done("b"), result });
}

/// Also a host of the version before: it refuses the call by which a removed host hears of it.
#[test]
fn a_removed_host_has_its_orders_before_it_is_cut_off() {
    let mut cluster = Cluster::found(NEVER);
    cluster.prepare_host("evil", "slots = 1\n");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut evil, _alive) = runtime.block_on(async {
        let evil = Evil::connect(&cluster).await;
        evil.say(&own_report(1, Vec::new()));
        let alive = evil.lives();
        (evil, alive)
    });
    cluster.until_up("evil", true);
    let shown = cluster.ask(&["host", "show", "evil"])["host"].clone();
    assert!(shown["version"].is_null() && shown["runtime"].is_null(), "what it says of itself is none: {shown}");
    cluster.submit(&[("a", &[])]);
    runtime.block_on(async { while !matches!(evil.order().await, HostOrder::Start(_)) {} });
    cluster.says(&["host", "remove", "evil", "--force"]);
    runtime.block_on(async {
        while !matches!(evil.order().await, HostOrder::Salvage(order) if order.attempt == attempt("a")) {}
        // And it is kept out, whatever it reports in between.
        while !matches!(evil.next().await, Told::Disconnected) {}
    });
    assert!(cluster.log("taskmaster").contains("told the removed host to end its attempts"));
    let hosts = cluster.ask(&["host", "list"])["hosts"].clone();
    assert_eq!(hosts.as_array().map(Vec::len), Some(0), "{hosts}");
}
