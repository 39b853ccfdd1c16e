//! A member with a valid certificate that says what it likes: it speaks for another host, of attempts that are not its
//! own, and nonsense. Nothing comes of it, the others stay served, and the log names it.
//! Deliberately absent: peers that break the protocol of links (cluster/tests/links).

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{Method, Request},
};
use devstack::{
    gateway::https::Https,
    wire::{self, HostOrder, ToHost, ToTaskmaster, Uploaded},
};
use devstack_cluster::{
    Credentials, Incarnation, Limits, Link, LinkConfig, Message, NodeName, Receiver, Reply, Session, tls,
};
use devstack_dag::{
    attempt::{Outcome, Report},
    command::HostReport,
    ids::{AttemptId, HostName, ProjectName, TaskId, TaskRef},
};
use tokio::sync::mpsc;

use crate::{
    cluster::{Cluster, NEVER},
    process::Process,
};

const PATIENT: Duration = Duration::from_secs(60);

enum Told {
    Connected,
    Disconnected,
    Order(ToHost),
}

struct Teller(mpsc::UnboundedSender<Told>);

impl Receiver for Teller {
    fn connected(&self, _: &Session) {
        let _ = self.0.send(Told::Connected);
    }

    fn disconnected(&self, _: &Session, _: &str) {
        let _ = self.0.send(Told::Disconnected);
    }

    fn received(&self, _: &Session, message: Message) {
        let _ = self.0.send(Told::Order(wire::decode(&message.body).unwrap()));
    }

    fn called(&self, _: &Session, _: Message, _: Reply) {}
}

/// The hostile host.
struct Evil {
    link: Link,
    told: mpsc::UnboundedReceiver<Told>,
    taskmaster: NodeName,
    https: Https,
}

impl Evil {
    async fn connect(cluster: &Cluster) -> Self {
        tls::install_provider();
        let credentials = Arc::new(Credentials::load(&cluster.path("evil/cluster")).unwrap());
        let (tell, told) = mpsc::unbounded_channel();
        let (link, api) = cluster.addresses();
        let (server, client) = (credentials.clone(), credentials.clone());
        let link = Link::start(LinkConfig {
            name: NodeName::new("evil").unwrap(),
            incarnation: Incarnation::random().unwrap(),
            cluster: "devstack".to_owned(),
            server: Arc::new(move || server.server_config()),
            client: Arc::new(move || client.client_config()),
            admit: Arc::new(|_| Ok(())),
            listen: None,
            join: vec![link.to_owned()],
            limits: Limits::default(),
            about: [0xFF; 512].into(),
            receiver: Arc::new(Teller(tell)),
        });
        let (link, https) = (link.await.unwrap(), Https::new(api, credentials.client_config()).unwrap());
        let mut evil = Self { link, told, taskmaster: NodeName::new("nobody").unwrap(), https };
        evil.connected().await;
        evil
    }

    async fn next(&mut self) -> Told {
        tokio::time::timeout(PATIENT, self.told.recv()).await.unwrap().unwrap()
    }

    async fn connected(&mut self) {
        while !matches!(self.next().await, Told::Connected) {}
        self.taskmaster = self.link.peers()[0].peer.clone();
    }

    fn send(&self, kind: u16, body: Vec<u8>) {
        self.link.send(&self.taskmaster, kind, body).unwrap();
    }

    fn say(&self, message: &ToTaskmaster) {
        self.send(wire::TO_TASKMASTER, wire::encode(message).unwrap());
    }

    /// What it said just now ends its session; it dials again.
    async fn is_cut_off(&mut self) {
        while !matches!(self.next().await, Told::Disconnected) {}
        self.connected().await;
    }

    async fn order(&mut self) -> HostOrder {
        loop {
            if let Told::Order(ToHost::Order(order)) = self.next().await {
                return order;
            }
        }
    }

    /// The status of an answer.
    async fn ask(&self, method: Method, path: &str, body: Body) -> u16 {
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        self.https.send(request).await.unwrap().status().as_u16()
    }
}

fn attempt(task: &str) -> AttemptId {
    let task = TaskRef { project: ProjectName::new("shop").unwrap(), id: TaskId::new(task).unwrap() };
    AttemptId { task, number: 1 }
}

fn done(task: &str) -> Report {
    let commit = Some("0123456789012345678901234567890123456789".parse().unwrap());
    Report { commit, ..Report::new(attempt(task), Outcome::Exited(0)) }
}

fn own_report(slots: u32, attempts: Vec<AttemptId>) -> ToTaskmaster {
    ToTaskmaster::Report(HostReport { attempts, ..HostReport::new(HostName::new("evil").unwrap(), slots) })
}

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
    for why in ["it reports as h1", "messages of kind 99 are not known", "a message cannot be understood"] {
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
    let mut evil = runtime.block_on(async {
        let evil = Evil::connect(&cluster).await;
        evil.say(&own_report(1, Vec::new()));
        evil
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
    assert!(cluster.log("taskmaster").contains("the removed host was told to end its attempts"));
    let hosts = cluster.ask(&["host", "list"])["hosts"].clone();
    assert_eq!(hosts.as_array().map(Vec::len), Some(0), "{hosts}");
}
