//! A member with a valid certificate and a link of its own, that says and asks what a test wants.
//! Deliberately absent: what must come of it (`hostile`, `members`).

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
    attempt::{Order, Outcome, Report},
    command::HostReport,
    ids::{AttemptId, HostName, ProjectName, TaskId, TaskRef},
};
use tokio::sync::mpsc;

use crate::cluster::Cluster;

const PATIENT: Duration = Duration::from_secs(60);
/// Hosts are silent after two seconds.
const BEAT: Duration = Duration::from_millis(300);

pub(crate) enum Told {
    Connected,
    Disconnected,
    Order(ToHost),
}

pub(crate) struct Teller(mpsc::UnboundedSender<Told>);

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

/// Ends with it.
pub(crate) struct Alive(tokio::task::JoinHandle<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The hostile host.
pub(crate) struct Evil {
    link: Link,
    told: mpsc::UnboundedReceiver<Told>,
    taskmaster: NodeName,
    pub(crate) https: Https,
}

impl Evil {
    pub(crate) async fn connect(cluster: &Cluster) -> Self {
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

    pub(crate) async fn next(&mut self) -> Told {
        tokio::time::timeout(PATIENT, self.told.recv()).await.unwrap().unwrap()
    }

    pub(crate) async fn connected(&mut self) {
        while !matches!(self.next().await, Told::Connected) {}
        self.taskmaster = self.link.peers()[0].peer.clone();
    }

    pub(crate) fn send(&self, kind: u16, body: Vec<u8>) {
        self.link.send(&self.taskmaster, kind, body).unwrap();
    }

    pub(crate) fn say(&self, message: &ToTaskmaster) {
        self.send(wire::TO_TASKMASTER, wire::encode(message).unwrap());
    }

    /// What it said just now ends its session; it dials again.
    pub(crate) async fn is_cut_off(&mut self) {
        while !matches!(self.next().await, Told::Disconnected) {}
        self.connected().await;
    }

    pub(crate) async fn order(&mut self) -> HostOrder {
        loop {
            if let Told::Order(ToHost::Order(order)) = self.next().await {
                return order;
            }
        }
    }

    /// It says that it lives, as long as this lives.
    pub(crate) fn lives(&self) -> Alive {
        let (link, taskmaster) = (self.link.clone(), self.taskmaster.clone());
        Alive(tokio::spawn(async move {
            loop {
                // Cut off for a moment: it dials again.
                let _ = link.send(&taskmaster, wire::TO_TASKMASTER, wire::encode(&ToTaskmaster::Alive).unwrap());
                tokio::time::sleep(BEAT).await;
            }
        }))
    }

    /// The order to start the attempt 1 of a task.
    pub(crate) async fn is_ordered(&mut self, task: &str) -> Order {
        loop {
            if let HostOrder::Start(order) = self.order().await
                && order.attempt == attempt(task)
            {
                return *order;
            }
        }
    }

    /// Brings a result: the status of the answer, and how it would be reported.
    pub(crate) async fn brings(&self, task: &str, bundle: Vec<u8>) -> (u16, Uploaded) {
        let (size, digest) = (bundle.len() as u64, blake3::hash(&bundle));
        let hex = digest.to_hex();
        let path = format!("/v1/nodes/attempts/shop/{task}/1/result?size={size}&offset=0&digest={hex}");
        // Asked first what is there: a refusal in the middle of a body may break the connection before it is read.
        let mut status = self.ask(Method::POST, &path, Body::empty()).await;
        if status == 200 {
            status = self.ask(Method::POST, &path, Body::from(Bytes::from(bundle))).await;
        }
        (status, Uploaded { size, digest: *digest.as_bytes() })
    }

    /// The status of an answer.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Body) -> u16 {
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        self.https.send(request).await.unwrap().status().as_u16()
    }
}

pub(crate) fn attempt(task: &str) -> AttemptId {
    let task = TaskRef { project: ProjectName::new("shop").unwrap(), id: TaskId::new(task).unwrap() };
    AttemptId { task, number: 1 }
}

pub(crate) fn done(task: &str) -> Report {
    let commit = Some("0123456789012345678901234567890123456789".parse().unwrap());
    Report { commit, ..Report::new(attempt(task), Outcome::Exited(0)) }
}

pub(crate) fn own_report(slots: u32, attempts: Vec<AttemptId>) -> ToTaskmaster {
    ToTaskmaster::Report(HostReport { attempts, ..HostReport::new(HostName::new("evil").unwrap(), slots) })
}
