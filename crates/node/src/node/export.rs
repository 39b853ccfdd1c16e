//! Keeps the exported dashboard file fresh. The file is written at the start and after new events, never more often
//! than configured, and not at all while nothing happens. Deliberately absent: its content (the gateway draws it).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use devstack_cluster::files;
use futures::{Stream, StreamExt};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use devstack_gateway as gateway;
use devstack_gateway::Backend;

/// Others may read it: it contains no secret.
const MODE: u32 = 0o644;
/// The pause before facts are requested again after a failure: the Taskmaster is being restarted.
const PAUSE: Duration = Duration::from_secs(2);

/// The exported file and its settings.
pub(super) struct Export {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) file: PathBuf,
    pub(super) interval: Duration,
}

impl Export {
    /// Keeps the file fresh until the task is aborted.
    pub(super) fn start(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                if let Ok(facts) = self.backend.facts(None).await {
                    let mut facts = facts.take_while(|fact| std::future::ready(fact.is_ok()));
                    loop {
                        self.write().await;
                        if !due(&mut facts, Instant::now() + self.interval).await {
                            break;
                        }
                    }
                }
                sleep(PAUSE).await;
            }
        })
    }

    /// If the file cannot be written now, it is written after the next change.
    async fn write(&self) {
        if let Err(why) = self.try_write().await {
            tracing::warn!(file = %self.file.display(), "cannot write the dashboard: {why}");
        }
    }

    async fn try_write(&self) -> Result<(), String> {
        let page = gateway::export(&*self.backend, None).await.map_err(|error| error.to_string())?;
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || replace(&file, page.as_bytes())).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

fn replace(file: &Path, page: &[u8]) -> std::io::Result<()> {
    files::replace_as(file, page, MODE)
}

/// Returns after the next change, and not before `free`; returns false when the stream of changes has ended.
async fn due<T>(changes: &mut (impl Stream<Item = T> + Unpin), free: Instant) -> bool {
    if changes.next().await.is_none() {
        return false;
    }
    let turn = sleep_until(free);
    tokio::pin!(turn);
    // Changes until then go into the same export.
    loop {
        tokio::select! {
            biased;
            () = &mut turn => return true,
            more = changes.next() => if more.is_none() { return true },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, stream};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn without_a_change_nothing_is_due() {
        let mut changes = stream::pending::<()>();
        assert_eq!(due(&mut changes, Instant::now() - LONG).now_or_never(), None);
    }

    #[tokio::test]
    async fn after_a_quiet_time_a_change_is_due_at_once() {
        let mut changes = stream::iter([(), ()]).chain(stream::pending());
        assert!(due(&mut changes, Instant::now() - LONG).await);
    }

    #[tokio::test]
    async fn before_its_time_nothing_is_due_however_much_changes() {
        let mut changes = stream::iter(0..1000).chain(stream::pending());
        assert_eq!(due(&mut changes, Instant::now() + LONG).now_or_never(), None);
        assert_eq!(changes.next().now_or_never(), None, "all of them are in the same picture");
    }

    #[tokio::test]
    async fn the_last_change_is_not_forgotten() {
        let mut changes = stream::iter([()]);
        assert!(due(&mut changes, Instant::now() + LONG).await);
        assert!(!due(&mut changes, Instant::now() + LONG).await);
    }
}
