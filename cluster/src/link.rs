//! The link of a process: its listener, its dialers, its sessions. Deliberately absent: retries of a send. Delivery is
//! at most once; a caller that needs more reconciles in the next session.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, time::timeout};

use crate::{
    NodeName, PeerCertificate, dialer,
    error::{CallError, LinkError, SendError},
    frame::Class,
    gateway::Gateway,
    limits::Limits,
    listener,
    node::Node,
    session::{Incarnation, Peer, Receiver, Session, SessionId},
    sessions::Sessions,
    sync::End,
};

/// Returns the current configuration. Called at every handshake, so certificates rotate without a restart.
pub type TlsSource<T> = Arc<dyn Fn() -> Arc<T> + Send + Sync>;

/// Decides whether a node with this certificate may link, or why not. Called at every handshake, in both directions.
/// The reason is logged and sent to the node.
pub type Admit = Arc<dyn Fn(&PeerCertificate) -> Result<(), String> + Send + Sync>;

/// The parameters of a link.
pub struct LinkConfig {
    /// This node's name, as in its certificate.
    pub name: NodeName,
    /// The incarnation of this process.
    pub incarnation: Incarnation,
    /// The cluster's name, the same on all nodes: this label only prevents mistakes. Certificates provide the security.
    pub cluster: String,
    /// For accepted links. TLS 1.3 and client certificates are required in any case.
    pub server: TlsSource<rustls::ServerConfig>,
    /// For dialed links. The server's certificate must be valid for the host of the dialed address.
    pub client: TlsSource<rustls::ClientConfig>,
    /// The decision who may link.
    pub admit: Admit,
    /// The address to listen on; port 0 chooses a free port.
    pub listen: Option<SocketAddr>,
    /// Addresses, `host:port`. The link keeps a session to each.
    pub join: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// This node's introduction to all others, at most [`crate::ABOUT_MAX`] bytes; a longer one is cut.
    pub about: Arc<[u8]>,
    /// The receiver of events and messages.
    pub receiver: Arc<dyn Receiver>,
}

/// A running link. Clones are the same link; it ends when the last clone is dropped.
#[derive(Clone)]
pub struct Link(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    address: Option<SocketAddr>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.end.ask("this node's link was dropped");
    }
}

/// The state that the tasks of a link share.
pub(crate) struct Core {
    pub(crate) config: LinkConfig,
    pub(crate) sessions: Sessions,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) node: Node,
    pub(crate) end: End,
    ids: AtomicU64,
}

impl Core {
    pub(crate) fn next_id(&self) -> SessionId {
        SessionId(self.ids.fetch_add(1, Ordering::Relaxed))
    }
}

impl Link {
    /// Starts to listen and to dial, on the current tokio runtime.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn start(config: LinkConfig) -> Result<Self, LinkError> {
        if let Some(problem) = config.limits.problem() {
            return Err(LinkError::Limits(problem));
        }
        let listener = match config.listen {
            Some(address) => {
                Some(TcpListener::bind(address).await.map_err(|source| LinkError::Listen { address, source })?)
            }
            None => None,
        };
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let gateway = Gateway::of_process().await?;
        let (node, ended) = Node::start(&config.name, config.incarnation, config.cluster.clone()).await?;
        let sessions = Sessions::new(config.name.clone());
        let core = Arc::new(Core { config, sessions, gateway, node, end: End::new(), ids: AtomicU64::new(1) });
        if let Some(listener) = listener {
            tokio::spawn(listener::run(core.clone(), listener));
        }
        for address in &core.config.join {
            tokio::spawn(dialer::run(core.clone(), address.clone()));
        }
        let watched = core.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                _ = watched.end.wait() => None,
                ended = ended => Some(ended),
            };
            if let Some(ended) = ended {
                tracing::error!(?ended, "ractor's node ended, so the link ended too");
                watched.end.ask("ractor's node ended");
            }
            // Sessions end first: their own tasks close their streams.
            for peer in watched.sessions.all() {
                watched.sessions.wait_gone(&peer.session.peer).await;
            }
            watched.node.stop();
        });
        Ok(Self(Arc::new(Handle { core, address })))
    }

    /// The address on which it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Sends a message without an answer. `Ok` means that it is on its way: it arrives at most once, and after the
    /// messages sent before it. Never blocks.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, to: &NodeName, kind: u16, body: Vec<u8>) -> Result<(), SendError> {
        self.peer(to)?.send(Class::Message, kind, 0, &body)
    }

    /// Sends a message and waits for its answer, at most for `limit`.
    ///
    /// # Errors
    /// See [`CallError`]; without an answer the outcome is unknown.
    pub async fn call(&self, to: &NodeName, kind: u16, body: Vec<u8>, limit: Duration) -> Result<Vec<u8>, CallError> {
        let peer = self.peer(to)?;
        let (request, answer) = peer.call(kind, &body)?;
        drop(body);
        let waiting = Waiting { peer, request };
        let answer = timeout(limit, answer).await;
        drop(waiting);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Disconnected),
            Err(_) => Err(CallError::TimedOut),
        }
    }

    /// Ends the session with a node, if there is one. The node may come back: to prevent that, refuse it in `admit`.
    pub fn disconnect(&self, peer: &NodeName, why: &str) {
        if let Some(peer) = self.0.core.sessions.with(peer) {
            peer.end.ask(why);
        }
    }

    /// The sessions that the receiver knows of.
    pub fn peers(&self) -> Vec<Session> {
        let peers = self.0.core.sessions.all();
        peers.iter().filter(|peer| peer.is_open()).map(|peer| peer.session.clone()).collect()
    }

    /// Frames that arrived after their session had ended, and were dropped; for all links of this process.
    pub fn dropped_frames(&self) -> u64 {
        self.0.core.gateway.routes.unknown()
    }

    /// Waits until the link has ended: it was stopped, or one of its actors failed, and a new link must be started.
    pub async fn ended(&self) -> Arc<str> {
        self.0.core.end.wait().await
    }

    /// Ends every session, and waits until they are gone.
    pub async fn stop(self) {
        let core = &self.0.core;
        core.end.ask("this node stops");
        for peer in core.sessions.all() {
            core.sessions.wait_gone(&peer.session.peer).await;
        }
    }

    fn peer(&self, name: &NodeName) -> Result<Arc<Peer>, SendError> {
        self.0.core.sessions.with(name).ok_or(SendError::NotConnected)
    }
}

/// A call in progress; it is forgotten together with its caller.
struct Waiting {
    peer: Arc<Peer>,
    request: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.peer.forget(self.request);
    }
}
