//! Accepts links. Each handshake is its own task with a deadline. When there are too many, the oldest handshake is
//! ended, so silent clients cannot block others. Deliberately absent: the handshake itself.

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
                // Out of descriptors, for example: avoid a busy loop while others end.
                tracing::warn!(%error, "cannot accept a link");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        under_way.retain(|handshake| !handshake.is_finished());
        while under_way.len() >= core.config.limits.handshakes
            && let Some(oldest) = under_way.pop_front()
        {
            tracing::debug!("too many handshakes in progress: ended the oldest");
            oldest.abort();
        }
        let core = core.clone();
        let handshake = tokio::spawn(async move {
            let shaking = timeout(core.config.limits.handshake, handshake::accept(&core, tcp, address)).await;
            match shaking.map_err(|_| HandshakeError::TimedOut).flatten() {
                // A separate task: a running session does not count as a handshake.
                Ok((peer, tls)) => drop(tokio::spawn(stream::run(core, peer, tls, true))),
                // Anybody can cause this: it is not worth a warning.
                Err(error) => tracing::debug!(%address, %error, "a connection did not become a link"),
            }
        });
        under_way.push_back(handshake.abort_handle());
    }
    under_way.iter().for_each(AbortHandle::abort);
}
