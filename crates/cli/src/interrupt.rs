//! Interrupts: SIGINT from the user, SIGTERM from the process manager.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A receiver of SIGINT and SIGTERM, however often they arrive.
pub(super) struct Interrupts(Option<(Signal, Signal)>);

impl Interrupts {
    /// Starts to listen.
    pub(super) fn listen() -> Self {
        let both = signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
        if let Err(error) = &both {
            tracing::warn!(%error, "cannot listen for interrupts: they end the process at once");
        }
        Self(both.ok())
    }

    /// Waits for the next interrupt.
    pub(super) async fn next(&mut self) {
        match &mut self.0 {
            None => std::future::pending().await,
            Some((int, term)) => {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
            }
        }
    }
}

/// Returns at the first interrupt.
pub(super) async fn first() {
    Interrupts::listen().next().await;
}
