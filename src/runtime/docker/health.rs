//! Is the engine there? Noted by whoever finds it gone; then one task looks for it until it answers. An engine that is
//! there is not asked.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::engine::{Engine, EngineError};

/// Between two looks for a lost engine: from the first to the longest. A restart of Docker takes 2 to 20 s.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// `None`: it answers, as far as anybody knows. Else why not.
pub(super) struct Health {
    engine: Arc<Engine>,
    state: watch::Sender<Option<String>>,
}

impl Health {
    pub(super) fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine, state: watch::Sender::new(None) })
    }

    /// Follows it.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.state.subscribe()
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
        let first = self.state.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                tracing::error!(%why, "the container engine is lost; no attempt starts until it answers");
                *state = Some(why);
            }
            first
        });
        if first {
            let this = self.clone();
            tokio::spawn(async move { this.search().await });
        }
    }

    /// Returns when it answers, as far as anybody knows.
    pub(super) async fn well(&self) {
        // Ends only with an error when the sender is gone, and this is the sender.
        let _ = self.state.subscribe().wait_for(Option::is_none).await;
    }

    async fn search(&self) {
        let (mut pause, longest) = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            if self.engine.ping().await.is_ok() {
                tracing::info!("the container engine answers again");
                self.state.send_replace(None);
                return;
            }
            pause = (pause * 2).min(longest);
        }
    }
}
