//! The API on TCP: TLS 1.3 with the certificates of the cluster. Each handshake has its own task and deadline, so a
//! silent client delays nobody.
//! Deliberately absent: HTTP without TLS.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use devstack_cluster::{Credentials, PeerCertificate};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Caller, Connection, Connections, Guest, ServerError, WAITING_ROOM, WaitingRoom, not_accepted, told};
use crate::access::Remote;
use devstack_config::node::Limits;

/// The time limit for a handshake: ten round trips of the slowest line, plus a loaded machine.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for the head of a request, including the next request of a connection; strangers connect here.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A vanished client (for example after a power failure) is detected after this many seconds without traffic, and four
/// probes ten seconds apart.
const KEEP_ALIVE: (u32, u32, u32) = (60, 10, 4);

/// A bound address, not served yet.
#[derive(Debug)]
pub struct TlsServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl TlsServer {
    /// Binds the address. Call within a tokio runtime.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address, including the port that was chosen if none was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` becomes true (or its sender is gone), then lets open requests end for 5 s. `limits` bounds
    /// the connections of known callers; 128 other connections are possible. Each handshake uses the current
    /// certificate.
    pub async fn serve(
        self,
        router: Router,
        credentials: Arc<Credentials>,
        limits: Limits,
        mut stop: watch::Receiver<bool>,
    ) {
        let room = WaitingRoom::new(WAITING_ROOM, &limits);
        let all = Connections::new(router);
        loop {
            let accepted = tokio::select! {
                () = told(&mut stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let guest = Arc::new(room.enter(Some(address.ip())));
                    let acceptor = TlsAcceptor::from(credentials.api_server_config());
                    let (connection, evicted) = (all.one(), guest.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = serve_one(stream, address, acceptor, guest, connection) => {}
                            () = evicted.evicted() => tracing::debug!(%address, "closed an idle connection"),
                        }
                    });
                }
                Err(error) => not_accepted(&error).await,
            }
        }
        drop(self.listener);
        all.end().await;
    }
}

async fn serve_one(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    guest: Arc<Guest>,
    connection: Connection,
) {
    prepare(&stream).unwrap_or_else(
        |error| tracing::debug!(%address, %error, "cannot set options of a connection; using defaults"),
    );
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "a handshake failed"),
        Err(_) => return tracing::debug!(%address, "a handshake took too long"),
    };
    match peer(&stream) {
        Ok(peer) => {
            let caller = Caller::Remote(Arc::new(Remote::new(peer, Some(address.ip()), guest.clone())));
            connection.serve(stream, caller, guest, HEADER_TIMEOUT).await;
        }
        Err(error) => tracing::debug!(%address, %error, "a certificate of the cluster does not name a node"),
    }
}

/// The node at the other end, if it showed a certificate; rustls has verified the certificate.
fn peer(stream: &TlsStream<TcpStream>) -> Result<Option<PeerCertificate>, devstack_cluster::peer::PeerError> {
    stream.get_ref().1.peer_certificates().map(PeerCertificate::of).transpose()
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    let (idle, interval, count) = KEEP_ALIVE;
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &idle)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &interval)?;
    Ok(setsockopt(stream, sockopt::TcpKeepCount, &count)?)
}
