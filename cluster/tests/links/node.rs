//! A node whose receiver reports every event, and which acts on request of a test. Kind 1 is answered with the same
//! body, kind 2 with a refusal, kind 3 never, kind 4 is kept unconsumed. Deliberately absent: every part of the product
//! except the link.

use std::sync::{Arc, LazyLock};

use devstack_cluster::{Incarnation, Limits, Link, LinkConfig, Message, NodeName, Receiver, Reply, Session};
use tokio::{runtime::Runtime, sync::mpsc};

use crate::pki::Identity;

/// An event of a receiver.
#[derive(Debug)]
pub(crate) enum Told {
    Connected(Session),
    Disconnected(Session, String),
    Received(Message),
    NotAdmitted(NodeName, String),
}

pub(crate) const ECHO: u16 = 1;
pub(crate) const REFUSE: u16 = 2;
pub(crate) const SILENCE: u16 = 3;

struct Teller {
    told: mpsc::UnboundedSender<Told>,
    unanswered: std::sync::Mutex<Vec<Reply>>,
}

impl Receiver for Teller {
    fn connected(&self, session: &Session) {
        let _ = self.told.send(Told::Connected(session.clone()));
    }

    fn not_admitted(&self, by: &NodeName, why: &str) {
        let _ = self.told.send(Told::NotAdmitted(by.clone(), why.to_owned()));
    }

    fn disconnected(&self, session: &Session, why: &str) {
        let _ = self.told.send(Told::Disconnected(session.clone(), why.to_owned()));
    }

    fn received(&self, _: &Session, message: Message) {
        let _ = self.told.send(Told::Received(message));
    }

    fn called(&self, _: &Session, message: Message, reply: Reply) {
        match message.kind {
            ECHO => reply.send(Ok(message.body)).unwrap(),
            REFUSE => reply.send(Err("no".to_owned())).unwrap(),
            SILENCE => self.unanswered.lock().unwrap().push(reply),
            _ => drop(reply),
        }
    }
}

/// A link and its events.
pub(crate) struct Node {
    pub(crate) link: Link,
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
}

pub(crate) fn config(name: &str, identity: &Identity, limits: Limits) -> (LinkConfig, mpsc::UnboundedReceiver<Told>) {
    let (told, hear) = mpsc::unbounded_channel();
    let config = LinkConfig {
        name: NodeName::new(name).unwrap(),
        incarnation: Incarnation::random().unwrap(),
        cluster: "test".to_owned(),
        server: identity.server(),
        client: identity.client(),
        admit: Arc::new(|peer| if peer.name.as_str() == "removed" { Err("it was removed".to_owned()) } else { Ok(()) }),
        listen: None,
        join: Vec::new(),
        limits,
        about: name.as_bytes().into(),
        receiver: Arc::new(Teller { told, unanswered: std::sync::Mutex::default() }),
    };
    (config, hear)
}

impl Node {
    pub(crate) async fn listening(name: &str, identity: &Identity, limits: Limits) -> Self {
        let (mut config, told) = config(name, identity, limits);
        config.listen = Some(([127, 0, 0, 1], 0).into());
        Self { link: Link::start(config).await.unwrap(), told }
    }

    pub(crate) async fn joining(name: &str, identity: &Identity, limits: Limits, to: &str) -> Self {
        let (mut config, told) = config(name, identity, limits);
        config.join = vec![to.to_owned()];
        Self { link: Link::start(config).await.unwrap(), told }
    }

    pub(crate) fn address(&self) -> String {
        self.link.local_addr().unwrap().to_string()
    }

    pub(crate) async fn next(&mut self) -> Told {
        self.told.recv().await.expect("the link runs")
    }

    /// The next session that begins.
    pub(crate) async fn connected(&mut self) -> Session {
        loop {
            if let Told::Connected(session) = self.next().await {
                return session;
            }
        }
    }

    /// The next session that ends, and the reason.
    pub(crate) async fn disconnected(&mut self) -> (Session, String) {
        loop {
            if let Told::Disconnected(session, why) = self.next().await {
                return (session, why);
            }
        }
    }

    /// The next message.
    pub(crate) async fn received(&mut self) -> Message {
        loop {
            if let Told::Received(message) = self.next().await {
                return message;
            }
        }
    }
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

/// Runs a test. All tests share a runtime: the gateway of the process lives on that of the first link.
pub(crate) fn run(test: impl Future<Output = ()>) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    RUNTIME.block_on(test);
}
