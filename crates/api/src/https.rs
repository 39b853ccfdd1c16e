//! A client for the API on TCP: one request over TLS, for the CLI and for nodes that join and renew.
//! Deliberately absent: whom to trust (the caller's configuration decides), retries, and connection reuse.

use std::{fmt, io, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Request, Response, header::HOST},
};
use devstack_cluster::join_token::split_address;
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{CertificateError, ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::ApiError;

/// The maximum wait for a connection, and again for the handshake: enough for a distant, busy machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A vanished server is detected after this many seconds without traffic, and three probes five seconds apart. An
/// answer can take minutes without any data.
const KEEP_ALIVE: (u32, u32, u32) = (10, 5, 3);

/// The maximum size of an answer that [`Https::answer`] reads, in bytes: certificates and pages of a cluster have a few
/// thousand.
const ANSWER_MAX: usize = 4 << 20;

/// A server, with the configuration that identifies it.
#[derive(Clone)]
pub struct Https {
    address: Arc<str>,
    config: Arc<ClientConfig>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The address is not `HOST:PORT`.
    #[error("`{0}` is not an address; write HOST:PORT")]
    Address(String),
    /// Nothing answers at the address. The request was not sent.
    #[error("{address} does not answer: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server is not trusted. The request was not sent.
    #[error("{address} has the wrong certificate: {reason}")]
    Untrusted {
        /// The address.
        address: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The connection ended before the answer. The request may have been carried out.
    #[error("{address} closed the connection before it answered: {reason}")]
    Lost {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server refuses the request, with a reason.
    #[error("{0}")]
    Refused(ApiError),
}

impl Https {
    /// The server at `HOST:PORT`, which `config` identifies.
    ///
    /// # Errors
    /// The address is not valid.
    pub fn new(address: &str, config: Arc<ClientConfig>) -> Result<Self, HttpsError> {
        match split_address(address) {
            Some(_) => Ok(Self { address: address.into(), config }),
            None => Err(HttpsError::Address(address.chars().take(300).collect())),
        }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request whose URI is a path, over a new connection.
    ///
    /// # Errors
    /// See [`HttpsError`], which states whether the request was sent. An answer of any status is not an error.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, HttpsError> {
        let stream = self.connect().await?;
        let host = HeaderValue::from_str(&self.address).map_err(|_| HttpsError::Address(self.address.to_string()))?;
        request.headers_mut().insert(HOST, host);
        let lost = |error: hyper::Error| HttpsError::Lost { address: self.address.to_string(), reason: causes(&error) };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        Ok(sender.send_request(request).await.map_err(lost)?.map(Body::new))
    }

    /// Sends a request with a small answer, and reads the answer.
    ///
    /// # Errors
    /// As [`Https::send`], and [`HttpsError::Refused`] with the server's reason.
    pub async fn answer(&self, request: Request<Body>) -> Result<Bytes, HttpsError> {
        let response = self.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let lost = |error: Box<dyn std::error::Error + Send + Sync>| HttpsError::Lost {
            address: self.address.to_string(),
            reason: causes(&*error),
        };
        let body = body.map_err(lost)?.to_bytes();
        match status.is_success() {
            true => Ok(body),
            false => Err(HttpsError::Refused(ApiError::from_answer(status.as_u16(), &body))),
        }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, HttpsError> {
        let unreachable = |reason: String| HttpsError::Unreachable { address: self.address.to_string(), reason };
        let late = |_| unreachable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
        let (host, port) = split_address(&self.address).ok_or_else(|| HttpsError::Address(self.address.to_string()))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpsError::Address(self.address.to_string()))?;
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port)));
        let stream = connecting.await.map_err(late)?.map_err(|error| unreachable(error.to_string()))?;
        // Small requests are sent at once. If the option cannot be set, they are sent a little later.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        let handshake = TlsConnector::from(self.config.clone()).connect(name, stream);
        tokio::time::timeout(CONNECT_TIMEOUT, handshake).await.map_err(late)?.map_err(|error| self.not_met(&error))
    }

    fn not_met(&self, error: &io::Error) -> HttpsError {
        let address = self.address.to_string();
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(why)) => HttpsError::Untrusted { address, reason: lacks(why) },
            Some(other) => HttpsError::Unreachable { address, reason: format!("TLS handshake failed: {other}") },
            None => HttpsError::Unreachable { address, reason: error.to_string() },
        }
    }
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Https").field(&self.address).finish()
    }
}

/// If keep-alive cannot be set, the caller's own time limits end the connection.
fn keep_alive(stream: &TcpStream) {
    let (idle, interval, count) = KEEP_ALIVE;
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &idle);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &interval);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &count);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
}

/// Explains what is wrong with a certificate, for the person who must fix it.
fn lacks(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not from the CA of the cluster".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks of both machines".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for other names; use a name from `devstack cluster init --advertise`".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

/// Formats an error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
