//! Retention of data that the Taskmaster's records name or once needed: unreferenced blobs are swept, and refs of
//! attempts that finished long enough ago are dropped. It runs at the start, and once a day in a long-running node; a
//! node that serves one request does none of it. Deliberately absent: deciding what is referenced or finished (the
//! engine) and logs (the agent host's log archive).

use std::{sync::Arc, time::Duration};

use devstack_dag::ids::Timestamp;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    actor::Address,
    devops::message::{DevopsMessage, Job},
    taskmaster::{
        Outbox,
        message::{Look, TaskmasterMessage, View},
    },
};
use devstack_store::Blobs;

/// The interval between two rounds. A blob that no fact names yet is kept for at least this long. The longest time from
/// a blob to its fact is a submission: minutes, while a large source is fetched.
const EVERY: Duration = Duration::from_secs(86_400);

/// The inputs of a round.
#[derive(Clone)]
pub(super) struct Housekeeping {
    pub(super) taskmaster: Address<TaskmasterMessage>,
    pub(super) outbox: Outbox,
    pub(super) blobs: Arc<Blobs>,
    /// How long refs of attempts are kept after the end of their task.
    pub(super) retention: Duration,
}

impl Housekeeping {
    /// Runs until the task is aborted.
    pub(super) fn start(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut round = tokio::time::interval(EVERY);
            loop {
                round.tick().await;
                if self.taskmaster.cast(self.round()).is_err() {
                    tracing::debug!("the Taskmaster is restarting: retention runs again in a day");
                }
            }
        })
    }

    /// Looks at the engine, and acts when the result is durable: whatever the last durable record names is never
    /// removed.
    fn round(&self) -> TaskmasterMessage {
        let (this, runtime) = (self.clone(), Handle::current());
        TaskmasterMessage::Look(Look(Box::new(move |seen| {
            let named = seen.engine.blobs();
            let due = this.due(seen);
            Box::new(move || {
                for (devops, message) in due {
                    // If DevOps is absent, it is being restarted, and is asked again in a day.
                    let _ = devops.cast(message);
                }
                runtime.spawn_blocking(move || match this.blobs.sweep(&named) {
                    Ok(0) => {}
                    Ok(swept) => tracing::info!(swept, "removed unreferenced texts"),
                    Err(error) => tracing::warn!(%error, "cannot remove unreferenced texts now"),
                });
            })
        })))
    }

    fn due(&self, seen: &View<'_>) -> Vec<(Address<DevopsMessage>, DevopsMessage)> {
        let retention = u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX);
        let then = Timestamp(seen.now.0.saturating_sub(retention));
        let projects = seen.engine.projects().filter_map(|project| {
            let due = seen.engine.finished_before(&project.spec.name, then);
            let devops = self.outbox.devops(&project.spec.name).filter(|_| !due.is_empty())?;
            Some((devops, DevopsMessage::Do(Job::Release { due })))
        });
        projects.collect()
    }
}
