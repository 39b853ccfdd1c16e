//! The API's listeners: a unix socket, where the file's mode decides who may ask, and TCP with TLS, where a token or a
//! certificate does. One way of serving a connection for both; each request carries its [`Caller`].
//! Deliberately absent: what a caller may do ([`access`](super::access)).

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

/// Clients that have not shown who they are, or wait for a seat: more than come at once, and a few megabytes of buffers.
const WAITING_ROOM: usize = 128;
/// A client has this long to send the head of a request, also of its next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers of a request: three times what a browser behind a proxy sends.
const HEADERS: usize = 100;
/// The largest head of a request, in bytes: one that waits for a thousand tasks by name has 64 KiB.
const HEAD: usize = 128 << 10;
/// After the signal to stop, open requests have this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Between tries to accept while the process is out of descriptors, for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another node answers there: use it, or stop it.
    #[error("another node answers on {0}")]
    InUse(PathBuf),
    /// There is something at the path that is no socket: move it away.
    #[error("{0} exists and is not a socket; move it away")]
    NotASocket(PathBuf),
    /// The socket cannot be made: see the reason.
    #[error("cannot make the socket {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be listened at: see the reason.
    #[error("cannot listen at {address}: {source}")]
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

/// The connections of a listener, to be ended together.
struct Connections {
    router: Router,
    closing: watch::Sender<bool>,
    /// Every connection holds a sender; nothing is ever sent.
    alive: mpsc::Sender<Infallible>,
    all_gone: mpsc::Receiver<Infallible>,
}

/// What one connection needs of the others.
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

    /// Lets open requests end; what is still open afterwards is cut off with the runtime.
    async fn end(mut self) {
        self.closing.send_replace(true);
        drop(self.alive);
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, self.all_gone.recv()).await;
    }
}

impl Connection {
    /// Serves requests until the client is done; when told to close, the request under way is finished and no other taken.
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
            // A client that went away in the middle is no fault of ours.
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Out of descriptors, for example: no busy loop while others end.
async fn not_accepted(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
