//! Retention of what the Taskmaster's records name or once needed: blobs that nothing names are swept, refs of attempts
//! that were finished long enough ago are dropped. At the start, and once a day in a node that runs on; a node that
//! serves one request does none of it.
//! Deliberately absent: deciding what is named or over (the engine) and logs (the agent host's shelf).

use std::{sync::Arc, time::Duration};

use devstack_dag::ids::Timestamp;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    actor::Address,
    devops::message::DevopsMessage,
    store::Blobs,
    taskmaster::{
        Outbox,
        message::{Look, TaskmasterMessage, View},
    },
};

/// Between two rounds. A blob that no fact names yet is kept for at least this long, and a submission is the longest way
/// from a blob to its fact: minutes, while a large source is fetched.
const EVERY: Duration = Duration::from_secs(86_400);

/// What a round needs.
#[derive(Clone)]
pub(super) struct Housekeeping {
    pub(super) taskmaster: Address<TaskmasterMessage>,
    pub(super) outbox: Outbox,
    pub(super) blobs: Arc<Blobs>,
    /// How long refs of attempts stay after the end of their task.
    pub(super) retention: Duration,
}

impl Housekeeping {
    /// Keeps house until the task is aborted.
    pub(super) fn start(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut round = tokio::time::interval(EVERY);
            loop {
                round.tick().await;
                if self.taskmaster.cast(self.round()).is_err() {
                    tracing::debug!("the Taskmaster is being restarted: what is past its retention stays for a day");
                }
            }
        })
    }

    /// Looks at the engine, and acts when what was seen is durable: what the last durable record names is never removed.
    fn round(&self) -> TaskmasterMessage {
        let (this, runtime) = (self.clone(), Handle::current());
        TaskmasterMessage::Look(Look(Box::new(move |seen| {
            let named = seen.engine.blobs();
            let due = this.due(seen);
            Box::new(move || {
                for (devops, message) in due {
                    // Nobody there: it is being restarted, and asked again in a day.
                    let _ = devops.cast(message);
                }
                runtime.spawn_blocking(move || match this.blobs.sweep(&named) {
                    Ok(0) => {}
                    Ok(swept) => tracing::info!(swept, "texts that nothing names any more are removed"),
                    Err(error) => tracing::warn!(%error, "texts that nothing names stay for now"),
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
            Some((devops, DevopsMessage::Release { due }))
        });
        projects.collect()
    }
}
