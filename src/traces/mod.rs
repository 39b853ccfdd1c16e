//! Traces: one tree of spans for each task, from its submission to its merge and delivery, made when it is over and posted to
//! a collector as OTLP over HTTP with JSON.
//!
//! Nothing is kept while a task runs: the tree is a function of its records ([`tree`]). Export is beside everything else: a
//! bounded queue, and what does not fit or is not taken is dropped and counted.
//! Deliberately absent: spans of messages and calls inside the node, and sampling (a finished task is rare).

mod otlp;
mod tree;

use std::time::Duration;

pub use otlp::Resource;
use tokio::{sync::mpsc, task::JoinHandle};
pub use tree::{Attribute, Finished, Moment, Span, spans};

use crate::{
    outgoing::{Bytes, Receiver},
    telemetry::metrics::meters,
};

/// Tasks whose spans go out together: some hundred kilobytes.
const BATCH: usize = 256;
/// Tries of a batch.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// Takes finished tasks. Cheap to clone.
#[derive(Clone)]
pub struct Traces(mpsc::Sender<Finished>);

impl Traces {
    /// Exports to a collector until the task is aborted; at most `queue` finished tasks wait.
    pub fn start(collector: Receiver, resource: Resource, queue: usize) -> (Self, JoinHandle<()>) {
        let (send, mut receive) = mpsc::channel(queue.max(1));
        let export = async move {
            let mut batch = Vec::new();
            // Whatever waits goes out together; nothing waits for company.
            while receive.recv_many(&mut batch, BATCH).await > 0 {
                let spans: Vec<Span> = batch.drain(..).flat_map(|finished| tree::spans(&finished)).collect();
                let count = spans.len() as u64;
                let exported = post(&collector, Bytes::from(otlp::request(&resource, &spans))).await;
                meters().traced(exported, count);
            }
        };
        (Self(send), tokio::spawn(export))
    }

    /// A task is over. Never waits.
    pub fn take(&self, finished: Finished) {
        if let Err(error) = self.0.try_send(finished) {
            let (mpsc::error::TrySendError::Full(finished) | mpsc::error::TrySendError::Closed(finished)) = error;
            meters().traced(false, tree::spans(&finished).len() as u64);
        }
    }
}

async fn post(collector: &Receiver, body: Bytes) -> bool {
    for tries in 1..=TRIES {
        match collector.post(&[], body.clone()).await {
            Ok(()) => return true,
            Err(error) => tracing::warn!(%error, tries, "spans were not taken"),
        }
        if tries < TRIES {
            tokio::time::sleep(PAUSE).await;
        }
    }
    false
}
