//! What an AgentHost is asked and told. Orders cross hosts; the rest is local only.

use std::time::Duration;

use devstack_dag::ids::AttemptId;
use ractor::Message;
use tokio::sync::oneshot;

use crate::{disk::Seen, wire::HostOrder};

/// To the AgentHost.
pub enum AgentHostMessage {
    /// From the Taskmaster.
    Order(HostOrder),
    /// Say that this actor lives: over a link, that is asked for regularly.
    Beat,
    /// What the runtime holds, found at start. The Taskmaster answers the report with an order for each that is
    /// valid, which adopts it, with `Salvage` for what may be work of this host, and with `Forget` for the rest.
    Observed(Vec<AttemptId>),
    /// An attempt that was found, and that nobody ordered, was ended.
    Ended(AttemptId),
    /// What an attempt left is removed.
    Removed(AttemptId),
    /// What an attempt left cannot be removed, for now.
    Stuck(AttemptId, String),
    /// What runs attempts is well (`None`), or cannot start any and why.
    Health(Option<String>),
    /// What the last look at the disk saw.
    Disk(Seen),
    /// There has been no session with the Taskmaster for so long: end what is replaced elsewhere by now, which is after
    /// `default` where an order says nothing. Answered with the time after which the next is; `None`: there is none.
    Silence {
        /// For so long.
        silent: Duration,
        /// As the Taskmaster said.
        default: Duration,
        /// Who asks.
        answer: oneshot::Sender<Option<Duration>>,
    },
    /// End every attempt, also what was found and not ordered yet, and answer when none runs.
    StopAll(oneshot::Sender<()>),
    /// Answer at once: whoever keeps watch over the node asks.
    Ping(oneshot::Sender<()>),
    /// Answer when nothing is being removed.
    TidyUp(oneshot::Sender<()>),
}

impl Message for AgentHostMessage {}
