//! Can anything start? Not while the engine is gone, and not while every bridge is full. That it is gone is noted by whoever
//! finds it so; then one task looks for it until it answers. An engine that is there is not asked.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::engine::{Engine, EngineError};

/// Between two looks for a lost engine: from the first to the longest. A restart of Docker takes 2 to 20 s.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What is wrong, as far as anybody knows.
pub(super) struct Health {
    engine: Arc<Engine>,
    state: watch::Sender<State>,
    /// The state in words.
    said: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct State {
    /// Why the engine does not answer.
    gone: Option<String>,
    /// Which bridges are full.
    full: Option<String>,
    /// How often it was lost: one that answers again may be another.
    losses: u64,
}

impl Health {
    pub(super) fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine, state: watch::Sender::default(), said: watch::Sender::default() })
    }

    /// Follows it, for people: why nothing can start.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.said.subscribe()
    }

    /// Passes a result on, and notes an engine that is gone.
    pub(super) fn note<T>(self: &Arc<Self>, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if let Err(EngineError::Gone { .. }) = &result {
            self.lost(result.as_ref().err().map(ToString::to_string).unwrap_or_default());
        }
        result
    }

    /// It is gone. Whoever says it first starts the search.
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

    /// How often it was lost.
    pub(super) fn losses(&self) -> u64 {
        self.state.borrow().losses
    }

    /// Every bridge is full, and which; or (`None`) one has room again.
    pub(super) fn full(&self, why: Option<String>) {
        self.change(|state| {
            let changed = state.full != why;
            state.full = why;
            changed
        });
    }

    /// Returns when the engine answers, as far as anybody knows.
    pub(super) async fn well(&self) {
        // Ends only with an error when the sender is gone, and this is the sender.
        let _ = self.state.subscribe().wait_for(|state| state.gone.is_none()).await;
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        self.state.send_if_modified(|state| {
            let changed = change(state);
            if changed {
                // While the state is locked: what is said follows it in order.
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
