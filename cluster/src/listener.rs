//! Accepts links: each handshake is a task of its own with a deadline, and when there are too many the oldest ends, so
//! that silent clients keep nobody out.
//! Deliberately absent: the handshake itself.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::AbortHandle, time::timeout};

use crate::{
    handshake::{self, HandshakeError},
    link::Core,
    stream,
};

/// Accepts until the link ends.
pub(crate) async fn run(core: Arc<Core>, listener: TcpListener) {
    let mut under_way: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            _ = core.end.wait() => break,
            accepted = listener.accept() => accepted,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, for example: no busy loop while others end.
                tracing::warn!(%error, "a link could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        under_way.retain(|handshake| !handshake.is_finished());
        while under_way.len() >= core.config.limits.handshakes
            && let Some(oldest) = under_way.pop_front()
        {
            tracing::debug!("too many handshakes are under way: the oldest ends");
            oldest.abort();
        }
        let core = core.clone();
        let handshake = tokio::spawn(async move {
            let shaking = timeout(core.config.limits.handshake, handshake::accept(&core, tcp, address)).await;
            match shaking.map_err(|_| HandshakeError::TimedOut).flatten() {
                // A task of its own: the session is no handshake under way.
                Ok((peer, tls)) => drop(tokio::spawn(stream::run(core, peer, tls, true))),
                // Anybody can cause it: not worth a warning.
                Err(error) => tracing::debug!(%address, %error, "a connection became no link"),
            }
        });
        under_way.push_back(handshake.abort_handle());
    }
    under_way.iter().for_each(AbortHandle::abort);
}
