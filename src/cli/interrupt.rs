//! Interrupts: SIGINT from a person, SIGTERM from whoever runs us.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, as often as they come.
pub(super) struct Interrupts(Option<(Signal, Signal)>);

impl Interrupts {
    /// Listens from now on.
    pub(super) fn listen() -> Self {
        let both = signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
        if let Err(error) = &both {
            tracing::warn!(%error, "interrupts end the process at once: they cannot be listened to");
        }
        Self(both.ok())
    }

    /// The next one.
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
