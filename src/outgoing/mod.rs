//! Posts to receivers outside: http and https, one request a connection, no redirects. What a receiver answers beyond its
//! status is not read. Its address is shown without its path, which may be a secret.
//! Deliberately absent: retries and queues (whoever posts has its own rules).

mod tls;

use std::{fmt, path::Path, time::Duration};

use aws_lc_rs::hmac;
use http_body_util::Full;
pub use hyper::body::Bytes;
use hyper::{
    Request, Uri,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// The certificates of authorities that Debian and Ubuntu trust.
pub const SYSTEM_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A receiver.
#[derive(Clone)]
pub struct Receiver {
    host: String,
    port: u16,
    /// The path and query, as they are sent.
    target: String,
    tls: Option<tls::Connector>,
    timeout: Duration,
}

/// Why a post was not taken. Never names a path, a header or a body.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// Nobody answers there, or not in time.
    #[error("{0} does not answer: {1}")]
    Unreachable(String, String),
    /// It answers, and refuses.
    #[error("{0} answers {1}")]
    Refused(String, u16),
}

/// Why there is no such receiver: for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoReceiver(String);

/// The parts of an address: scheme, host and port. What is wrong with it, for people.
///
/// # Errors
/// It is no address of http or https, or has a user in it.
pub fn check_url(url: &str) -> Result<(), String> {
    parts(url).map(drop)
}

fn parts(url: &str) -> Result<(bool, String, u16, String), String> {
    let example = "write for example \"https://hooks.example/devstack\"";
    let uri: Uri = url.parse().map_err(|_| format!("it is no URL; {example}"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(format!("only http and https are spoken; {example}")),
    };
    let authority = uri.authority().ok_or_else(|| format!("it names no host; {example}"))?;
    if authority.as_str().contains('@') {
        return Err("a user and a password in a URL end in logs; leave them out".to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let target = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    Ok((tls, host, port, target))
}

impl Receiver {
    /// The receiver at a URL. With https it must have a certificate of an authority in `ca_file` (PEM).
    ///
    /// # Errors
    /// The URL is none, or the file cannot be used.
    pub fn new(url: &str, ca_file: &Path, timeout: Duration) -> Result<Self, NoReceiver> {
        let (tls, host, port, target) = parts(url).map_err(NoReceiver)?;
        let tls = tls.then(|| tls::Connector::trusting(ca_file, &host)).transpose().map_err(NoReceiver)?;
        Ok(Self { host, port, target, tls, timeout })
    }

    /// Posts JSON. Any 2xx is success.
    ///
    /// # Errors
    /// It was not taken, or nobody knows.
    pub async fn post(&self, headers: &[(&str, &str)], body: Bytes) -> Result<(), PostError> {
        match tokio::time::timeout(self.timeout, self.exchange(headers, body)).await {
            Ok(Ok(200..=299)) => Ok(()),
            Ok(Ok(status)) => Err(PostError::Refused(self.to_string(), status)),
            Ok(Err(error)) => Err(PostError::Unreachable(self.to_string(), error.to_string())),
            Err(_) => {
                Err(PostError::Unreachable(self.to_string(), format!("not within {} s", self.timeout.as_secs_f64())))
            }
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
        // Ends with the sender; what goes wrong on it the sender says.
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

/// `host:port`: what may be shown of it.
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

/// HMAC-SHA256 of a body, in hexadecimal digits: whoever has the secret can tell that it is ours.
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
        assert_eq!(parts("https://[::1]:9/x").unwrap(), (true, "::1".to_owned(), 9, "/x".to_owned()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_mend() {
        for (url, says) in [
            ("hooks.example", "only http and https"),
            ("ftp://x/", "only http and https"),
            ("https://me:secret@x/", "end in logs"),
            ("http://a b/", "no URL"),
        ] {
            let why = check_url(url).unwrap_err();
            assert!(why.contains(says) && !why.contains("secret@"), "{url}: {why}");
        }
        let missing = Receiver::new("https://x/", Path::new("/none/ca.pem"), Duration::from_secs(1)).unwrap_err();
        assert!(missing.to_string().contains("/none/ca.pem"), "{missing}");
    }
}
