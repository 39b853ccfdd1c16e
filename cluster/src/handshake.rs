//! Turns a TCP connection into a session: TLS 1.3 with a certificate of the cluster on both sides, admission, and a
//! hello in each direction. A peer that is refused after TLS is told the reason. Deliberately absent: deadlines (the
//! callers set them) and certificates (the configurations contain them).

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ProtocolVersion, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::{
    NodeName, PeerCertificate,
    frame::{HEADER, Key},
    hello::{self, First, Hello, HelloError},
    link::{Core, LinkConfig},
    peer::PeerError,
    session::{Peer, Session},
    sessions::ClaimError,
};

/// Why there is no session. Names the peer if a certificate named it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("TLS 1.3 is required")]
    OldTls,
    #[error(transparent)]
    Certificate(#[from] PeerError),
    #[error("{0} is not admitted: {1}")]
    NotAdmitted(NodeName, String),
    #[error("{0}: {1}")]
    Claim(NodeName, ClaimError),
    #[error("{0}: {1}")]
    Hello(NodeName, HelloError),
    #[error("{0} refuses: {1}")]
    Refused(NodeName, String),
    #[error("{0} does not admit this node: {1}")]
    NotAdmittedThere(NodeName, String),
    #[error("not done in time")]
    TimedOut,
}

/// A session that is ready to begin: its state, and its stream.
pub(crate) type Ready = (Arc<Peer>, TlsStream<TcpStream>);

/// The server's side of an accepted connection.
pub(crate) async fn accept(core: &Core, tcp: TcpStream, address: SocketAddr) -> Result<Ready, HandshakeError> {
    tcp.set_nodelay(true)?;
    let tls = TlsAcceptor::from((core.config.server)()).accept(tcp).await?;
    let mut tls = TlsStream::Server(tls);
    let peer = certificate(&tls)?.name.clone();
    match answer(core, &mut tls, address).await {
        Err(error @ (HandshakeError::NotAdmitted(..) | HandshakeError::Claim(..) | HandshakeError::Hello(..))) => {
            let why = error.to_string();
            tracing::warn!(%peer, %address, why, "refused a link");
            refuse(&mut tls, &why, matches!(error, HandshakeError::NotAdmitted(..))).await?;
            Err(error)
        }
        done => done.map(|session| (session, tls)),
    }
}

async fn answer(core: &Core, tls: &mut TlsStream<TcpStream>, address: SocketAddr) -> Result<Arc<Peer>, HandshakeError> {
    let name = admitted(core, tls)?;
    let theirs = first(tls, &name).await?;
    let claimed = |error| HandshakeError::Claim(name.clone(), error);
    core.sessions.admit(&name, theirs.incarnation).await.map_err(claimed)?;
    let (peer, ours) = session(core, &name, address, &theirs)?;
    core.sessions.accepted(&peer).map_err(claimed)?;
    let begun = Begun { core, peer, carried: false };
    say(tls, &name, &ours).await?;
    Ok(begun.done())
}

/// The client's side of a dialed connection. The server's certificate must be valid for `host`.
pub(crate) async fn dial(
    core: &Core,
    tcp: TcpStream,
    host: ServerName<'static>,
    address: SocketAddr,
) -> Result<Ready, HandshakeError> {
    tcp.set_nodelay(true)?;
    let tls = TlsConnector::from((core.config.client)()).connect(host, tcp).await?;
    let mut tls = TlsStream::Client(tls);
    let name = admitted(core, &tls)?;
    let claimed = |error| HandshakeError::Claim(name.clone(), error);
    let dialing = core.sessions.dial(&name).map_err(claimed)?;
    let key = random_key()?;
    let ours = our_hello(core, key);
    say(&mut tls, &name, &ours).await?;
    let theirs = first(&mut tls, &name).await?;
    let peer = peer(core, &name, address, key, &theirs);
    core.sessions.dialed(&peer).map_err(claimed)?;
    let begun = Begun { core, peer, carried: false };
    drop(dialing);
    Ok((begun.done(), tls))
}

/// A registered session that is not carried yet; dropping this forgets it.
struct Begun<'a> {
    core: &'a Core,
    peer: Arc<Peer>,
    carried: bool,
}

impl Begun<'_> {
    fn done(mut self) -> Arc<Peer> {
        self.carried = true;
        self.peer.clone()
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.carried {
            self.core.sessions.remove(&self.peer);
        }
    }
}

fn certificate(tls: &TlsStream<TcpStream>) -> Result<PeerCertificate, HandshakeError> {
    let (_, connection) = tls.get_ref();
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(HandshakeError::OldTls);
    }
    Ok(PeerCertificate::of(connection.peer_certificates().unwrap_or_default())?)
}

fn admitted(core: &Core, tls: &TlsStream<TcpStream>) -> Result<NodeName, HandshakeError> {
    let certificate = certificate(tls)?;
    match (core.config.admit)(&certificate) {
        Ok(()) => Ok(certificate.name),
        Err(why) => Err(HandshakeError::NotAdmitted(certificate.name, why)),
    }
}

fn random_key() -> io::Result<Key> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Key(key))
}

fn our_hello(core: &Core, key: Key) -> Hello {
    let LinkConfig { incarnation, limits, about, .. } = &core.config;
    Hello { incarnation: *incarnation, key, frames: limits.frames, bytes: limits.bytes, about: about.clone() }
}

fn session(
    core: &Core,
    name: &NodeName,
    address: SocketAddr,
    theirs: &Hello,
) -> Result<(Arc<Peer>, Hello), HandshakeError> {
    let key = random_key()?;
    Ok((peer(core, name, address, key, theirs), our_hello(core, key)))
}

fn peer(core: &Core, name: &NodeName, address: SocketAddr, key: Key, theirs: &Hello) -> Arc<Peer> {
    let (peer, about) = (name.clone(), theirs.about.clone());
    let session = Session { peer, incarnation: theirs.incarnation, id: core.next_id(), address, about };
    Arc::new(Peer::new(session, key, theirs, &core.config.limits, core.config.receiver.clone()))
}

async fn say(tls: &mut TlsStream<TcpStream>, name: &NodeName, hello: &Hello) -> Result<(), HandshakeError> {
    let frame = hello.encode().map_err(|error| HandshakeError::Hello(name.clone(), error.into()))?;
    tls.write_all(&frame).await?;
    Ok(tls.flush().await?)
}

async fn first(tls: &mut TlsStream<TcpStream>, name: &NodeName) -> Result<Hello, HandshakeError> {
    let wrong = |error| HandshakeError::Hello(name.clone(), error);
    let mut bytes = [0; HEADER];
    tls.read_exact(&mut bytes).await?;
    let header = hello::begin(&bytes).map_err(wrong)?;
    let mut body = vec![0; header.length];
    tls.read_exact(&mut body).await?;
    match hello::finish(&header, &body).map_err(wrong)? {
        First::Hello(hello) => Ok(hello),
        First::Refused(why) => Err(HandshakeError::Refused(name.clone(), why)),
        First::NotAdmitted(why) => Err(HandshakeError::NotAdmittedThere(name.clone(), why)),
    }
}

async fn refuse(tls: &mut TlsStream<TcpStream>, why: &str, for_good: bool) -> io::Result<()> {
    let frame = hello::refusal(why, for_good).map_err(io::Error::other)?;
    tls.write_all(&frame).await?;
    tls.shutdown().await
}
