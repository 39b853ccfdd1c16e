//! A private proxy to the dashboard: a server on 127.0.0.1 that forwards the requests of one authorized browser to the
//! node. The browser never sees the node's socket or the token, and no other user of the machine gets access.
//! A request must meet three conditions: its connection comes from a process of the same user (or root), it carries the
//! cookie, and a page of the dashboard sent it ([`door`]). Decision 0019 explains why each condition is needed.
//! Deliberately absent: TLS (nothing leaves the machine), and keeping a node: if none is running, [`way`] starts one
//! for a moment.

mod door;
mod peer;
mod way;

use std::{convert::Infallible, net::SocketAddrV4, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

pub(super) use door::Door;
pub(super) use way::Way;

use super::CliError;
use door::Verdict;

/// The most connections at once: a browser opens six per window.
const CONNECTIONS: usize = 64;
/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a failed accept, for example without free descriptors: avoids a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Headers that must not be forwarded: hop-by-hop headers (RFC 9110, 7.6.1), and those between the browser and us.
const OURS: [header::HeaderName; 11] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::AUTHORIZATION,
    header::HOST,
];

/// A bound address, not yet served.
pub(super) struct Proxy {
    listener: TcpListener,
    address: SocketAddrV4,
}

impl Proxy {
    /// Binds 127.0.0.1; port 0 means a free port.
    pub(super) async fn bind(port: u16) -> Result<Self, CliError> {
        let wanted = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port);
        let failed = |error: std::io::Error| {
            CliError::failure(format!("cannot listen on {wanted}: {error}"))
                .hint("choose another --port, or leave it out")
        };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, address: SocketAddrV4::new(*wanted.ip(), port) })
    }

    /// The port of the proxy.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Serves forever.
    pub(super) async fn serve(self, door: Arc<Door>, way: Arc<Way>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let Ok(seat) = room.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let (door, way, own) = (door.clone(), way.clone(), self.address);
                    tokio::spawn(async move {
                        match from {
                            std::net::SocketAddr::V4(from) if peer::is_ours(from, own).await => {
                                serve_one(stream, door, way).await;
                            }
                            _ => tracing::warn!(%from, "refused a connection from a process of another user"),
                        }
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve_one(stream: TcpStream, door: Arc<Door>, way: Arc<Way>) {
    // Events are small and should leave at once; without this option they leave a little later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let (door, way) = (door.clone(), way.clone());
        async move { Ok::<_, Infallible>(answer(&door, &way, request.map(Body::new)).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(door: &Door, way: &Way, mut request: Request<Body>) -> Response<Body> {
    match door.judge(request.method(), request.uri(), request.headers()) {
        Verdict::Refuse(status, why) => told(status, &why),
        Verdict::Enter { cookie, to } => {
            let mut response = told(StatusCode::SEE_OTHER, "welcome");
            let headers = response.headers_mut();
            // We made both from plain characters.
            if let (Ok(mut cookie), Ok(to)) = (HeaderValue::try_from(cookie), HeaderValue::try_from(to)) {
                cookie.set_sensitive(true);
                headers.insert(header::SET_COOKIE, cookie);
                headers.insert(header::LOCATION, to);
            }
            response
        }
        Verdict::Pass => {
            keep_to_ourselves(request.headers_mut());
            request.headers_mut().insert(header::HOST, HeaderValue::from_static("devstack"));
            // The door has checked that one of our pages sent the request. The node cannot check it: it does not know
            // our address.
            request.headers_mut().remove(header::ORIGIN);
            if !request.method().is_safe() {
                request.headers_mut().insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
            }
            match way.send(request).await {
                Ok(mut response) => {
                    keep_to_ourselves(response.headers_mut());
                    response
                }
                Err(error) => {
                    let hint = error.error.problem.hint.as_deref().unwrap_or("try again");
                    told(StatusCode::BAD_GATEWAY, &format!("{error}\n{hint}"))
                }
            }
        }
    }
}

/// Removes headers that must not be forwarded.
fn keep_to_ourselves(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    let named: Vec<String> = named.flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in OURS {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

/// A short text response of the proxy itself.
fn told(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_neighbours_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Own"),
            ("x-own", "1"),
            ("cookie", "devstack-1=secret"),
            ("authorization", "Bearer secret"),
            ("transfer-encoding", "chunked"),
            ("accept", "text/html"),
            ("last-event-id", "7"),
        ] {
            headers.insert(header::HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        keep_to_ourselves(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(header::HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "last-event-id"]);
    }
}
