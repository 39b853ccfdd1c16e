//! Carries one session between the TLS stream and ractor, which gets one end of a pipe. One task owns the socket, so
//! whatever ends the session also closes the socket, even while ractor's writer is blocked. Deliberately absent: a
//! goodbye message. The end of a session is the end of its connection.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsStream;

use crate::{
    gate::{Gate, Verdict},
    link::Core,
    node::ractor_name,
    session::Peer,
    sync::lock,
};

/// Bytes read, written and held at once between ractor and the socket: four TLS records.
const CHUNK: usize = 64 << 10;
/// ractor releases a session within this time once its pipe is closed: its actors wait for each other at most twice for
/// 500 ms. After this time the session counts as gone anyway, so that it cannot lock its node out.
const LET_GO: Duration = Duration::from_secs(5);

/// The reason when the peer's process ended.
const CLOSED: &str = "the peer closed the connection";

/// Carries a session until it ends, then forgets it.
pub(crate) async fn run(core: Arc<Core>, peer: Arc<Peer>, tls: TlsStream<TcpStream>, accepted: bool) {
    let (near, far) = tokio::io::duplex(CHUNK);
    core.gateway.routes.add(&peer);
    let gone = core.node.attach(&peer, far, accepted);
    let why = carry(&core, &peer, tls, near).await;
    core.gateway.routes.remove(peer.key);
    let session = &peer.session;
    if peer.closed(&why) {
        tracing::info!(peer = %session.peer, address = %session.address, why, "a link ended");
    } else {
        tracing::warn!(peer = %session.peer, address = %session.address, why, "a link ended before it was ready");
    }
    // An error means that ractor itself ended.
    let _ = timeout(LET_GO, gone).await;
    core.node.detach(&peer);
    core.sessions.remove(&peer);
}

/// Returns why the session ended. Everything that it holds of the socket ends with it.
async fn carry(core: &Core, peer: &Arc<Peer>, tls: TlsStream<TcpStream>, near: DuplexStream) -> String {
    let (from_peer, to_peer) = tokio::io::split(tls);
    let (from_ractor, to_ractor) = tokio::io::split(near);
    tokio::select! {
        why = peer.end.wait() => why.to_string(),
        why = core.end.wait() => why.to_string(),
        why = inbound(core, peer, from_peer, to_ractor) => why,
        why = outbound(from_ractor, to_peer, core.config.limits.write_stall) => why,
        why = keep(core, peer) => why,
    }
}

/// Requires the session to open in time, and then sends pings.
async fn keep(core: &Core, peer: &Peer) -> String {
    let limits = &core.config.limits;
    if timeout(limits.handshake, peer.wait_open()).await.is_err() {
        return "it did not become ready in time".to_owned();
    }
    let mut ticks = interval(limits.ping);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        peer.ping();
    }
}

async fn inbound(
    core: &Core,
    peer: &Peer,
    mut from: ReadHalf<TlsStream<TcpStream>>,
    mut to: WriteHalf<DuplexStream>,
) -> String {
    let limits = core.config.limits;
    let mut gate = Gate::new(ractor_name(&peer.session), peer.key, limits);
    let began = Instant::now();
    let (mut unread, mut passed) = (Vec::new(), Vec::new());
    loop {
        if let Err(why) = sift(&mut gate, peer, began.elapsed(), &mut unread, &mut passed) {
            return why;
        }
        if to.write_all(&passed).await.is_err() {
            return "ractor ended the session: the peer is not in this cluster, or a newer session exists".to_owned();
        }
        passed.clear();
        if passed.capacity() + unread.capacity() > 8 * CHUNK {
            // After a large frame its memory is released.
            passed.shrink_to(CHUNK);
            unread.shrink_to(CHUNK);
        }
        unread.reserve(CHUNK);
        match timeout(limits.read_idle, from.read_buf(&mut unread)).await {
            Ok(Ok(0)) => return CLOSED.to_owned(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return lost(&error),
            Err(_) => return format!("nothing arrived for {:?}", limits.read_idle),
        }
    }
}

/// Moves accepted bytes from `unread` to `passed`.
fn sift(
    gate: &mut Gate,
    peer: &Peer,
    elapsed: Duration,
    unread: &mut Vec<u8>,
    passed: &mut Vec<u8>,
) -> Result<(), String> {
    let mut ledger = lock(&peer.ledger);
    let mut at = 0;
    loop {
        let rest = unread.get(at..).unwrap_or_default();
        match gate.next(rest, elapsed, &mut ledger).map_err(|error| error.to_string())? {
            Verdict::Wait => break,
            Verdict::Keep(bytes) => at += bytes,
            Verdict::Pass(bytes) => {
                passed.extend_from_slice(&rest[..bytes]);
                at += bytes;
            }
        }
    }
    unread.drain(..at);
    Ok(())
}

async fn outbound(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, stall: Duration) -> String {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return "ractor ended the session".to_owned(),
            Ok(read) => read,
        };
        let mut rest = &chunk[..read];
        while !rest.is_empty() {
            match timeout(stall, to.write(rest)).await {
                Ok(Ok(0)) => return "the connection accepts no more data".to_owned(),
                Ok(Ok(written)) => rest = &rest[written..],
                Ok(Err(error)) => return lost(&error),
                Err(_) => return format!("nothing could be sent for {stall:?}: the peer does not read"),
            }
        }
        match timeout(stall, to.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return lost(&error),
            Err(_) => return format!("nothing could be sent for {stall:?}: the peer does not read"),
        }
    }
}

fn lost(error: &io::Error) -> String {
    match error.kind() {
        // A process that ends in any way sends no TLS close, and may leave unread data.
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => CLOSED.to_owned(),
        _ => format!("the connection failed: {error}"),
    }
}
