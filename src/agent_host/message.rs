//! What an AgentHost and its Attempts are asked and told. `Start`, `Stop` and `Forget` will cross hosts; the rest
//! is local only.

use devstack_dag::{attempt::Order, ids::AttemptId};
use ractor::Message;
use tokio::sync::oneshot;

/// To the AgentHost.
pub enum AgentHostMessage {
    /// Run this attempt; one that is there already is left alone.
    Start(Box<Order>),
    /// End this attempt; it is reported as stopped.
    Stop(AttemptId),
    /// Its report is durable, or it is fenced: remove what is left of it.
    Forget(AttemptId),
    /// What the runtime holds, found at start. The Taskmaster answers the report with an order for each that is
    /// valid, which adopts it, and with `Forget` for the rest.
    Observed(Vec<AttemptId>),
    /// The Taskmaster is new: report the full state, and every exit that was not acknowledged, again.
    ReportAgain,
    /// What an attempt left is removed.
    Removed(AttemptId),
    /// What an attempt left cannot be removed, for now.
    Stuck(AttemptId, String),
    /// What runs attempts is well (`None`), or cannot start any and why.
    Health(Option<String>),
    /// End every attempt and answer when none runs.
    StopAll(oneshot::Sender<()>),
    /// Answer at once: whoever keeps watch over the node asks.
    Ping(oneshot::Sender<()>),
    /// Answer when nothing is being removed.
    TidyUp(oneshot::Sender<()>),
}

impl Message for AgentHostMessage {}
