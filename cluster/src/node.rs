//! ractor's node: the server that owns its sessions. We hand it streams, and it reports what happens to them.
//! Deliberately absent: ractor's own listener, as far as possible. It cannot be turned off, so it listens on loopback
//! behind a TLS configuration that completes no handshake.

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

/// A node's name in ractor. ractor mistakes a peer with its own `host:port` for itself, and may refuse a second peer of
/// the same name. The incarnation is therefore used as the "host", which makes both unique.
pub(crate) fn ractor_name(session: &Session) -> String {
    format!("{}@{}", session.peer, session.incarnation)
}

/// The sessions that ractor has, by the label of their stream.
#[derive(Default)]
struct Attached(Mutex<HashMap<String, Carried>>);

/// A session, and the channel that reports that ractor released it.
type Carried = (Arc<Peer>, oneshot::Sender<()>);

/// ractor's node.
pub(crate) struct Node {
    server: ActorRef<NodeServerMessage>,
    attached: Arc<Attached>,
}

/// One end of a pipe, in the form that ractor needs.
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

/// Has no certificate, so no handshake completes: nobody can bypass our own listener.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

impl Node {
    /// Starts ractor's node. The handle ends with it.
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

    /// Hands a session's stream to ractor. The answer arrives when ractor has released it.
    pub(crate) fn attach(&self, peer: &Arc<Peer>, stream: DuplexStream, accepted: bool) -> oneshot::Receiver<()> {
        let (gone, wait) = oneshot::channel();
        let label = label(&peer.session);
        lock(&self.attached.0).insert(label.clone(), (peer.clone(), gone));
        let stream = Box::new(Pipe { stream, label });
        // If the server is gone, the link ends, and the session with it.
        let _ = self.server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server: accepted });
        wait
    }

    /// Forgets a session that ractor did not release.
    pub(crate) fn detach(&self, peer: &Peer) {
        lock(&self.attached.0).remove(&label(&peer.session));
    }

    /// Stops ractor's node; the handle from its start ends.
    pub(crate) fn stop(&self) {
        self.server.stop(None);
    }
}

fn label(session: &Session) -> String {
    format!("{} at {} (session {})", session.peer, session.address, session.id.0)
}

/// Receives ractor's events. Its actor calls this: nothing here may wait.
struct Events(Arc<Attached>);

impl NodeEventSubscription for Events {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        let Some(peer) = lock(&self.0.0).get(&session.peer_addr).map(|(peer, _)| peer.clone()) else { return };
        // The gate checked this; a wrong name that passed it would be our own bug.
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
            // Nobody waits any more: the session was forgotten.
            let _ = gone.send(());
        }
    }
}
