//! The way from a browser to the node, which may come and go meanwhile. While none runs, one is started in this process
//! for the requests of a moment: the lock of the directory is held no longer, so that `devstack run` beside an open
//! dashboard starts at once, and the pages then show its node.
//! Deliberately absent: who may ask.

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

use crate::{
    cli::{CliError, Seams, Workdir, address::Target, client::Client, session::Session},
    gateway::server,
};

/// A node of ours outlives the last request by this: a page, and what it loads.
const REST: Duration = Duration::from_secs(1);

/// What a stream of events says that has nothing to tell: the browser asks again in three seconds.
const LATER: &str = "retry: 3000\n\n";

/// The way to the target's node.
pub(in crate::cli) struct Way {
    target: Target,
    seams: Seams,
    own: RwLock<Option<Session>>,
    /// When the node of our own goes, unless it is asked again.
    until: Mutex<Instant>,
    started: Notify,
}

impl Way {
    /// No node is looked for before the first request.
    pub(in crate::cli) fn new(target: Target, seams: Seams) -> Arc<Self> {
        let (own, until) = (RwLock::new(None), Mutex::new(Instant::now()));
        Arc::new(Self { target, seams, own, until, started: Notify::new() })
    }

    /// Is there a node, or can there be one?
    ///
    /// # Errors
    /// Why not.
    pub(in crate::cli) async fn look(&self) -> Result<(), CliError> {
        let session = Session::open(&self.target, self.seams).await?;
        let answer = session.client.get("/v1/status").await;
        session.close().await?;
        answer.map(drop)
    }

    /// Passes a request on.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, CliError> {
        let dir = match &self.target {
            Target::Node(client) => return client.exchange(request).await,
            Target::Dir(dir) => dir,
        };
        if let Some(client) = running(dir).await {
            return client.exchange(request).await;
        }
        if wants_events(request.headers()) {
            // Nothing happens while no node runs, and waiting for it would hold the lock.
            return Ok(later());
        }
        loop {
            let own = self.own.read().await;
            if let Some(session) = &*own {
                *self.until.lock().await = Instant::now() + REST;
                // With the lock, so that the node stays until it has answered.
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

    /// Ends nodes of our own whose time is over, for ever.
    pub(in crate::cli) async fn tend(&self) {
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

    /// Ends the node of our own, if nobody asks it at this moment.
    async fn end(&self) -> bool {
        let mut own = self.own.write().await;
        // Somebody may have asked while we waited for those who did.
        if *self.until.lock().await > Instant::now() {
            return false;
        }
        if let Some(session) = own.take()
            && let Err(error) = session.close().await
        {
            tracing::warn!(%error, "the node did not end well");
        }
        true
    }

    /// Ends the node of our own in any case.
    pub(in crate::cli) async fn close(&self) -> Result<(), CliError> {
        match self.own.write().await.take() {
            Some(session) => session.close().await,
            None => Ok(()),
        }
    }
}

/// The node of the directory, if somebody listens on its socket.
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
