//! ractor's node: the server that owns its sessions, told of streams and telling of their fate.
//! Deliberately absent: ractor's own listener, as far as possible. It cannot be turned off, so it sits on loopback behind a
//! TLS configuration that completes no handshake.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use ractor::{Actor, ActorRef, concurrency::JoinHandle};
use ractor_cluster::{
    BoxRead, BoxWrite, ClusterBidiStream, IncomingEncryptionMode, NodeEventSubscription, NodeServer, NodeServerMessage,
    node::{NodeConnectionMode, NodeServerSessionInformation},
};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{io::DuplexStream, sync::oneshot};

use crate::{
    NodeName,
    error::LinkError,
    gate::MESSAGE_MAX,
    session::{Incarnation, Peer, Session},
    sync::lock,
};

/// A node's name in ractor. ractor takes a peer with its own `host:port` for itself, and refuses a second one of a name by
/// chance: so the run of the process is the "host", and both are unique.
pub(crate) fn ractor_name(session: &Session) -> String {
    format!("{}@{}", session.peer, session.incarnation)
}

/// Sessions that ractor has, by the label of their stream.
#[derive(Default)]
struct Attached(Mutex<HashMap<String, Carried>>);

/// A session, and who waits until ractor let go of it.
type Carried = (Arc<Peer>, oneshot::Sender<()>);

/// ractor's node.
pub(crate) struct Node {
    server: ActorRef<NodeServerMessage>,
    attached: Arc<Attached>,
}

/// One end of a pipe, as ractor wants it.
struct Pipe {
    stream: DuplexStream,
    label: String,
}

impl ClusterBidiStream for Pipe {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (read, write) = tokio::io::split(self.stream);
        (Box::new(read), Box::new(write))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

/// Has no certificate, so that no handshake completes: nobody enters past our own listener.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

impl Node {
    /// Starts it. The handle ends when it does.
    pub(crate) async fn start(
        name: &NodeName,
        incarnation: Incarnation,
        cluster: String,
    ) -> Result<(Self, JoinHandle<()>), LinkError> {
        let failed = |error: &dyn std::fmt::Display| LinkError::Actors(error.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let closed = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Nobody));
        let server = NodeServer::new(
            0,
            cluster,
            name.to_string(),
            incarnation.to_string(),
            Some(IncomingEncryptionMode::Tls(Arc::new(closed).into())),
            Some(NodeConnectionMode::Isolated),
        )
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_max_inbound_frame_size(MESSAGE_MAX as u64);
        let (server, ended) = Actor::spawn(None, server, ()).await.map_err(|error| failed(&error))?;
        let attached = Arc::new(Attached::default());
        let subscription = Box::new(Events(attached.clone()));
        server
            .cast(NodeServerMessage::SubscribeToEvents { id: "link".to_owned(), subscription })
            .map_err(|error| failed(&error))?;
        Ok((Self { server, attached }, ended))
    }

    /// Hands a session's stream to ractor. The answer comes when ractor let go of it.
    pub(crate) fn attach(&self, peer: &Arc<Peer>, stream: DuplexStream, accepted: bool) -> oneshot::Receiver<()> {
        let (gone, wait) = oneshot::channel();
        let label = label(&peer.session);
        lock(&self.attached.0).insert(label.clone(), (peer.clone(), gone));
        let stream = Box::new(Pipe { stream, label });
        // A server that is gone ends the link, and the session with it.
        let _ = self.server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server: accepted });
        wait
    }

    /// Forgets a session that ractor did not let go of.
    pub(crate) fn detach(&self, peer: &Peer) {
        lock(&self.attached.0).remove(&label(&peer.session));
    }

    /// Stops it; the handle of its start ends.
    pub(crate) fn stop(&self) {
        self.server.stop(None);
    }
}

fn label(session: &Session) -> String {
    format!("{} at {} (session {})", session.peer, session.address, session.id.0)
}

/// Hears ractor's node. Called by its actor: nothing here waits.
struct Events(Arc<Attached>);

impl NodeEventSubscription for Events {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        let Some(peer) = lock(&self.0.0).get(&session.peer_addr).map(|(peer, _)| peer.clone()) else { return };
        // The gate saw to it; a name that passed it otherwise is a fault of ours.
        let named = session.peer_name.as_ref().is_some_and(|name| name.name == ractor_name(&peer.session));
        let gateway = session.actor.get_cell().get_children().into_iter().find(|child| !child.get_id().is_local());
        match gateway.filter(|_| named) {
            Some(gateway) => peer.opened(gateway.into()),
            None => peer.end.ask("it has no gateway under its own name"),
        }
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        if let Some((peer, gone)) = lock(&self.0.0).remove(&session.peer_addr) {
            peer.end.ask("ractor ended the session");
            // Nobody waits any more: it was forgotten.
            let _ = gone.send(());
        }
    }
}
