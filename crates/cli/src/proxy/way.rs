//! The connection from the proxy to the node, which may start and stop meanwhile. If no node is running, one is started
//! in this process for the requests of a moment. It holds the lock of the directory only that long, so that `devstack
//! run` beside an open dashboard starts at once, and the pages then show its node.
//! Deliberately absent: access control.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, Request, Response,
        header::{ACCEPT, CONTENT_TYPE},
    },
};
use tokio::{
    sync::{Mutex, Notify, RwLock},
    time::Instant,
};

use crate::{CliError, Seams, Workdir, address::Target, client::Client, session::Session};
use devstack_gateway::server;

/// How long our own node stays after the last request: long enough for a page and its resources.
const REST: Duration = Duration::from_secs(1);

/// The content of an event stream without events: it makes the browser reconnect in three seconds.
const LATER: &str = "retry: 3000\n\n";

/// The connection to the target's node.
pub(crate) struct Way {
    target: Target,
    seams: Seams,
    own: RwLock<Option<Session>>,
    /// When our own node stops, unless another request arrives.
    until: Mutex<Instant>,
    started: Notify,
}

impl Way {
    /// Connects to no node before the first request.
    pub(crate) fn new(target: Target, seams: Seams) -> Arc<Self> {
        let (own, until) = (RwLock::new(None), Mutex::new(Instant::now()));
        Arc::new(Self { target, seams, own, until, started: Notify::new() })
    }

    /// Checks that a node answers, or that one can be started.
    ///
    /// # Errors
    /// Why no node can answer.
    pub(crate) async fn look(&self) -> Result<(), CliError> {
        let session = Session::open(&self.target, self.seams).await?;
        let answer = session.client.get("/v1/status").await;
        session.close().await?;
        answer.map(drop)
    }

    /// Forwards a request.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CliError> {
        let dir = match &self.target {
            Target::Node(client) => return client.exchange(request).await,
            Target::Dir(dir) => dir,
        };
        if let Some(client) = running(dir).await {
            return client.exchange(request).await;
        }
        if wants_events(request.headers()) {
            // Nothing happens while no node is running, and a waiting stream would hold the lock.
            return Ok(later());
        }
        loop {
            let own = self.own.read().await;
            if let Some(session) = &*own {
                *self.until.lock().await = Instant::now() + REST;
                // Keep the read lock, so that the node stays until it has answered.
                return session.client.exchange(request).await;
            }
            drop(own);
            let mut own = self.own.write().await;
            if own.is_some() {
                continue;
            }
            let session = Session::open(&self.target, self.seams).await?;
            if !session.is_idle() {
                return session.client.exchange(request).await;
            }
            *own = Some(session);
            *self.until.lock().await = Instant::now() + REST;
            self.started.notify_one();
        }
    }

    /// Stops our own nodes when they are idle. Runs forever.
    pub(crate) async fn tend(&self) {
        loop {
            self.started.notified().await;
            loop {
                let until = *self.until.lock().await;
                if until <= Instant::now() && self.end().await {
                    break;
                }
                tokio::time::sleep_until(until.max(Instant::now() + REST / 4)).await;
            }
        }
    }

    /// Stops our own node if no request is in progress.
    async fn end(&self) -> bool {
        let mut own = self.own.write().await;
        // A new request may have arrived while we waited for the lock.
        if *self.until.lock().await > Instant::now() {
            return false;
        }
        if let Some(session) = own.take()
            && let Err(error) = session.close().await
        {
            tracing::warn!(%error, "the node did not shut down cleanly");
        }
        true
    }

    /// Stops our own node in any case.
    pub(crate) async fn close(&self) -> Result<(), CliError> {
        match self.own.write().await.take() {
            Some(session) => session.close().await,
            None => Ok(()),
        }
    }
}

/// The node of the directory, if a process listens on its socket.
async fn running(dir: &Workdir) -> Option<Client> {
    let socket = dir.socket();
    server::connect(&socket).await.is_ok().then(|| Client::Socket(socket))
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"))
}

fn later() -> Response<Body> {
    let mut response = Response::new(Body::from(LATER));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}
