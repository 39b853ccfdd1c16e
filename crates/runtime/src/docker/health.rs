//! Tracks whether an attempt can start: not while the engine is gone, and not while every bridge is full. Any caller
//! that finds the engine gone records it; then one task probes the engine until it answers. An available engine is not
//! probed.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::engine::{Engine, EngineError};

/// Pauses between two probes of a lost engine: the first and the longest. A restart of Docker takes 2 to 20 s.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The known problems.
pub(super) struct Health {
    engine: Arc<Engine>,
    state: watch::Sender<State>,
    /// The state as text.
    said: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct State {
    /// Why the engine does not answer.
    gone: Option<String>,
    /// Which bridges are full.
    full: Option<String>,
    /// How often the engine was lost: when it answers again, it may be another engine.
    losses: u64,
}

impl Health {
    pub(super) fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine, state: watch::Sender::default(), said: watch::Sender::default() })
    }

    /// Follows the state, as text: why nothing can start.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.said.subscribe()
    }

    /// Passes a result on, and records that the engine is gone.
    pub(super) fn note<T>(self: &Arc<Self>, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if let Err(EngineError::Gone { .. }) = &result {
            self.lost(result.as_ref().err().map(ToString::to_string).unwrap_or_default());
        }
        result
    }

    /// The engine is gone. The first report starts the probing task.
    pub(super) fn lost(self: &Arc<Self>, why: String) {
        let first = self.change(|state| {
            let first = state.gone.is_none();
            if first {
                state.losses += 1;
                tracing::error!(%why, "the container engine is lost; no attempt starts until it answers");
                state.gone = Some(why);
            }
            first
        });
        if first {
            let this = self.clone();
            tokio::spawn(async move { this.search().await });
        }
    }

    /// How often the engine was lost.
    pub(super) fn losses(&self) -> u64 {
        self.state.borrow().losses
    }

    /// Every bridge is full, with a description; or (`None`) one has room again.
    pub(super) fn full(&self, why: Option<String>) {
        self.change(|state| {
            let changed = state.full != why;
            state.full = why;
            changed
        });
    }

    /// Returns when the engine answers, as far as is known.
    pub(super) async fn well(&self) {
        // This ends with an error only when the sender is gone, and `self` is the sender.
        let _ = self.state.subscribe().wait_for(|state| state.gone.is_none()).await;
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        self.state.send_if_modified(|state| {
            let changed = change(state);
            if changed {
                // Sent while the state is locked, so that the texts are in order.
                self.said.send_replace(state.gone.clone().or_else(|| state.full.clone()));
            }
            changed
        })
    }

    async fn search(&self) {
        let (mut pause, longest) = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            if self.engine.ping().await.is_ok() {
                tracing::info!("the container engine answers again");
                self.change(|state| state.gone.take().is_some());
                return;
            }
            pause = (pause * 2).min(longest);
        }
    }
}
