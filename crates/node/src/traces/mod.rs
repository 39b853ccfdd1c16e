//! Traces: one tree of spans for each task, from its submission to its merge and delivery. The tree is made when the
//! task is finished, and posted to a collector as OTLP over HTTP with JSON.
//!
//! Nothing is kept while a task runs: the tree is a function of its records (`tree`). The export never delays other
//! work: its queue is bounded, and spans that do not fit or that the collector does not accept are dropped and counted.
//! Deliberately absent: spans of messages and calls inside the node, and sampling (a finished task is rare).

mod otlp;
mod tree;

use std::time::Duration;

pub use otlp::Resource;
use tokio::{sync::mpsc, task::JoinHandle};
pub use tree::{Attribute, Finished, Moment, Span, spans};

use devstack_api::outgoing::{Bytes, Receiver};
use devstack_telemetry::metrics::meters;

/// Number of tasks whose spans are sent together: some hundred kilobytes.
const BATCH: usize = 256;
/// Number of tries for a batch.
const TRIES: u32 = 3;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// Receives finished tasks. Cheap to clone.
#[derive(Clone)]
pub struct Traces(mpsc::Sender<Finished>);

impl Traces {
    /// Exports to a collector until the task is aborted; at most `queue` finished tasks wait.
    pub fn start(collector: Receiver, resource: Resource, queue: usize) -> (Self, JoinHandle<()>) {
        let (send, mut receive) = mpsc::channel(queue.max(1));
        let export = async move {
            let mut batch = Vec::new();
            // All waiting tasks are sent together; none waits for more.
            while receive.recv_many(&mut batch, BATCH).await > 0 {
                let spans: Vec<Span> = batch.drain(..).flat_map(|finished| tree::spans(&finished)).collect();
                let count = spans.len() as u64;
                let exported = post(&collector, Bytes::from(otlp::request(&resource, &spans))).await;
                meters().traced(exported, count);
            }
        };
        (Self(send), tokio::spawn(export))
    }

    /// A task has finished. Never waits.
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
            Err(error) => tracing::warn!(%error, tries, "the collector did not accept the spans"),
        }
        if tries < TRIES {
            tokio::time::sleep(PAUSE).await;
        }
    }
    false
}
