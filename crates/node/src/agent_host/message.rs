//! The messages of an AgentHost. Orders cross hosts; the rest is local only.

use std::time::Duration;

use devstack_dag::ids::AttemptId;
use ractor::Message;
use tokio::sync::oneshot;

use crate::wire::HostOrder;
use devstack_machine::disk::Seen;

/// Messages to the AgentHost.
pub enum AgentHostMessage {
    /// An order from the Taskmaster.
    Order(HostOrder),
    /// Report that this actor is alive. Over a link, this is requested regularly.
    Beat,
    /// The runtime's attempts, found at start. The Taskmaster answers the report with an order for each valid attempt,
    /// which adopts it, with `Salvage` for attempts that may have work of this host, and with `Forget` for the rest.
    Observed(Vec<AttemptId>),
    /// A found attempt without an order was ended.
    Ended(AttemptId),
    /// The remains of an attempt were removed.
    Removed(AttemptId),
    /// The remains of an attempt cannot be removed now.
    Stuck(AttemptId, String),
    /// The runtime is healthy (`None`), or cannot start attempts, with the reason.
    Health(Option<String>),
    /// The result of the last disk check.
    Disk(Seen),
    /// There has been no session with the Taskmaster for this long: end the attempts that were replaced elsewhere by
    /// now, which is after `default` where an order gives no time. Answered with the time until the next such attempt;
    /// `None` if there is none.
    Silence {
        /// How long.
        silent: Duration,
        /// The Taskmaster's default.
        default: Duration,
        /// The reply port.
        answer: oneshot::Sender<Option<Duration>>,
    },
    /// End every attempt, including those found but not ordered yet, and answer when none runs.
    StopAll(oneshot::Sender<()>),
    /// Answer at once: the node's liveness check asks.
    Ping(oneshot::Sender<()>),
    /// Answer when no removal is in progress.
    TidyUp(oneshot::Sender<()>),
}

impl Message for AgentHostMessage {}
