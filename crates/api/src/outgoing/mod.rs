//! Posts to external receivers: http and https, one request per connection, no redirects. Only the status of the
//! response is read. The address is displayed without its path, which can be a secret.
//! Deliberately absent: retries and queues (callers have their own rules).

mod tls;

use std::{fmt, path::Path, time::Duration};

use aws_lc_rs::hmac;
use devstack_config::url::Address;
use http_body_util::Full;
pub use hyper::body::Bytes;
use hyper::{
    Request,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// A receiver.
#[derive(Clone)]
pub struct Receiver {
    host: String,
    port: u16,
    /// The path and query of requests.
    target: String,
    tls: Option<tls::Connector>,
    timeout: Duration,
}

/// Why a post failed. Never contains a path, a header or a body.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The receiver does not answer, or not in time.
    #[error("{0} does not answer: {1}")]
    Unreachable(String, String),
    /// The receiver refuses the post.
    #[error("{0} answers {1}")]
    Refused(String, u16),
}

/// Why a receiver cannot be configured, as a message for users.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoReceiver(String);

impl Receiver {
    /// The receiver at a URL. With https its certificate must come from an authority in `ca_file` (PEM).
    ///
    /// # Errors
    /// The URL is not valid, or the file cannot be used.
    pub fn new(url: &str, ca_file: &Path, timeout: Duration) -> Result<Self, NoReceiver> {
        let Address { tls, host, port, target } = Address::parse(url).map_err(NoReceiver)?;
        let tls = tls.then(|| tls::Connector::trusting(ca_file, &host)).transpose().map_err(NoReceiver)?;
        Ok(Self { host, port, target, tls, timeout })
    }

    /// Posts JSON. Any 2xx is success.
    ///
    /// # Errors
    /// The receiver did not accept the post, or the outcome is unknown.
    pub async fn post(&self, headers: &[(&str, &str)], body: Bytes) -> Result<(), PostError> {
        match tokio::time::timeout(self.timeout, self.exchange(headers, body)).await {
            Ok(Ok(200..=299)) => Ok(()),
            Ok(Ok(status)) => Err(PostError::Refused(self.to_string(), status)),
            Ok(Err(error)) => Err(PostError::Unreachable(self.to_string(), error.to_string())),
            Err(_) => Err(PostError::Unreachable(
                self.to_string(),
                format!("no answer within {} s", self.timeout.as_secs_f64()),
            )),
        }
    }

    async fn exchange(&self, headers: &[(&str, &str)], body: Bytes) -> Result<u16, Error> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        match &self.tls {
            Some(tls) => self.send(tls.connect(stream).await?, headers, body).await,
            None => self.send(stream, headers, body).await,
        }
    }

    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<u16, Error> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection ends with the sender, which reports its errors.
        let connection = tokio::spawn(connection);
        let mut request = Request::post(&self.target).header(HOST, self.to_string());
        request = request.header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = sender.send_request(request.body(Full::new(body))?).await;
        connection.abort();
        Ok(answer?.status().as_u16())
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// `host:port`: the public part of the address.
impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({self})")
    }
}

/// HMAC-SHA256 of a body, in hexadecimal digits. A receiver with the secret can verify that we sent the body.
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_rfc_4231() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(b"Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn an_address_is_shown_without_its_path() {
        let receiver =
            Receiver::new("http://hooks.example/T0/secret?token=1", Path::new("/none"), Duration::from_secs(1))
                .unwrap();
        assert_eq!(
            (receiver.to_string().as_str(), receiver.target.as_str()),
            ("hooks.example:80", "/T0/secret?token=1")
        );
        assert_eq!(format!("{receiver:?}"), "Receiver(hooks.example:80)");
    }

    #[test]
    fn certificates_that_are_not_there_are_named() {
        let missing = Receiver::new("https://x/", Path::new("/none/ca.pem"), Duration::from_secs(1)).unwrap_err();
        assert!(missing.to_string().contains("/none/ca.pem"), "{missing}");
    }
}
