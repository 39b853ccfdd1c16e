//! Keeps a session to an address: dials forever, with full jitter, and resolves the name at each attempt.
//! Deliberately absent: a choice between addresses; each address has its own dialer, and a node that is reached twice
//! keeps one session.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    handshake::{self, HandshakeError, Ready},
    link::Core,
    sessions::ClaimError,
    stream,
};

/// Dials until the link ends.
pub(crate) async fn run(core: Arc<Core>, address: String) {
    tokio::select! {
        _ = core.end.wait() => {}
        () = keep(&core, &address) => {}
    }
}

async fn keep(core: &Arc<Core>, address: &str) {
    let mut failures = 0_u32;
    let mut told = String::new();
    loop {
        match dial(core, address).await {
            Ok((peer, tls)) => {
                told.clear();
                let since = Instant::now();
                // A separate task: it reports the session's end even when the link ends first.
                let _ = tokio::spawn(stream::run(core.clone(), peer, tls, false)).await;
                failures = if since.elapsed() >= core.config.limits.settled { 1 } else { failures.saturating_add(1) };
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let why = error.to_string();
                // The same reason is logged only once.
                if why == told {
                    tracing::debug!(address, why, "still no link");
                } else {
                    tracing::warn!(address, why, "no link");
                    told = why;
                }
                match error {
                    HandshakeError::Claim(name, ClaimError::Busy(_)) => {
                        core.sessions.wait_gone(&name).await;
                        failures = 1;
                    }
                    HandshakeError::NotAdmittedThere(by, why) => core.config.receiver.not_admitted(&by, &why),
                    _ => {}
                }
            }
        }
        // Without random bytes use the longest wait.
        let random = getrandom::u64().unwrap_or(u64::MAX);
        tokio::time::sleep(core.config.limits.redial.wait(failures, random)).await;
    }
}

async fn dial(core: &Arc<Core>, address: &str) -> Result<Ready, HandshakeError> {
    let host = server_name(address)?;
    let limits = &core.config.limits;
    let tcp = connect(address, limits.dial).await?;
    let at = tcp.peer_addr()?;
    timeout(limits.handshake, handshake::dial(core, tcp, host, at)).await.map_err(|_| HandshakeError::TimedOut)?
}

/// Tries each address of the name in turn, each with the whole time.
async fn connect(address: &str, limit: Duration) -> Result<TcpStream, HandshakeError> {
    let addresses = timeout(limit, tokio::net::lookup_host(address)).await.map_err(|_| HandshakeError::TimedOut)??;
    let mut last = HandshakeError::Io(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = HandshakeError::TimedOut,
        }
    }
    Err(last)
}

/// The name that the certificate must be valid for: the host of `host:port`.
fn server_name(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a host:port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_the_certificate_must_say() {
        let name = |address| server_name(address).unwrap().to_str().into_owned();
        assert_eq!(name("node-1.example:7777"), "node-1.example");
        assert_eq!(name("127.0.0.1:7777"), "127.0.0.1");
        assert_eq!(name("[::1]:7777"), "::1");
        assert!(server_name("a b:1").is_err());
    }
}
