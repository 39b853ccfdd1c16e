//! The listeners of the API: a unix socket, where the mode of the file decides who has access, and TCP with TLS, where
//! a token or a certificate does. Both serve connections the same way, and each request carries its [`Caller`].
//! Deliberately absent: the permissions of a caller ([`access`](super::access)).

mod bodies;
mod seats;
mod tls;
mod unix;
mod waiting;

use std::{convert::Infallible, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
};
use tower::Service;

use super::access::Caller;

pub(super) use bodies::{Keeping, Stalling};
pub use tls::TlsServer;
pub use unix::{Server, connect};
pub use waiting::{Guest, WaitingRoom};

/// The maximum number of clients that are not authenticated yet or wait for a seat: more than arrive at once, and a few
/// megabytes of buffers.
const WAITING_ROOM: usize = 128;
/// The time limit for the head of a request, including the next request of a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of headers: three times what a browser behind a proxy sends.
const HEADERS: usize = 100;
/// The maximum size of the head of a request, in bytes: a request that waits for a thousand tasks by name has 64 KiB.
const HEAD: usize = 128 << 10;
/// The time that open requests have after the signal to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the next accept after a failure, for example when the process has no free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another node uses the address: use that node, or stop it.
    #[error("another node answers on {0}")]
    InUse(PathBuf),
    /// The path exists and is not a socket: move or delete it.
    #[error("{0} exists and is not a socket; move or delete it")]
    NotASocket(PathBuf),
    /// The socket cannot be created.
    #[error("cannot create the socket {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Returns when the value is true, or will never change again.
async fn told(signal: &mut watch::Receiver<bool>) {
    let _ = signal.wait_for(|value| *value).await;
}

/// The connections of a listener, which end together.
struct Connections {
    router: Router,
    closing: watch::Sender<bool>,
    /// Every connection holds a sender; nothing is ever sent.
    alive: mpsc::Sender<Infallible>,
    all_gone: mpsc::Receiver<Infallible>,
}

/// The shared state that a connection needs.
struct Connection {
    router: Router,
    closing: watch::Receiver<bool>,
    _alive: mpsc::Sender<Infallible>,
}

impl Connections {
    fn new(router: Router) -> Self {
        let (alive, all_gone) = mpsc::channel(1);
        Self { router, closing: watch::channel(false).0, alive, all_gone }
    }

    fn one(&self) -> Connection {
        Connection { router: self.router.clone(), closing: self.closing.subscribe(), _alive: self.alive.clone() }
    }

    /// Lets open requests end. The end of the runtime cuts the rest off.
    async fn end(mut self) {
        self.closing.send_replace(true);
        drop(self.alive);
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, self.all_gone.recv()).await;
    }
}

impl Connection {
    /// Serves requests until the client is done. After the signal to close, the current request is completed and no
    /// other accepted.
    async fn serve(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        caller: Caller,
        guest: Arc<Guest>,
        header_timeout: Duration,
    ) {
        let router = self.router;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            let (busy, answer) = (guest.begin(), router.clone().call(request));
            async move { answer.await.map(|answer| answer.map(|body: Body| Keeping::body(body, busy))) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_headers(HEADERS).max_header_size(HEAD);
        let serving = http.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = told(&mut self.closing) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            // A client that disconnects in the middle is not our error.
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// For example, no free descriptors: no busy loop while other connections end.
async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
