//! Checks that the node is alive. Only answers from its actors count: a process whose actors hang is not alive.
//! Deliberately absent: any reaction (the service manager ends and restarts the process).

use std::time::Duration;

use crate::{
    actor::{Address, Gone},
    agent_host::message::AgentHostMessage,
    taskmaster::message::{Look, TaskmasterMessage},
};

/// Checks that the actors of a node are alive. Cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    /// `None` if it is on another machine.
    pub(super) taskmaster: Option<Address<TaskmasterMessage>>,
    /// `None` if this node runs no attempts.
    pub(super) agent_host: Option<Address<AgentHostMessage>>,
}

impl Pulse {
    /// Requires every actor to answer within this time, and the Taskmaster's journal to write.
    ///
    /// # Errors
    /// The first actor that does not answer.
    pub async fn beats(&self, within: Duration) -> Result<(), Gone> {
        let look = |answer: tokio::sync::oneshot::Sender<()>| {
            TaskmasterMessage::Look(Look(Box::new(|_| {
                Box::new(move || {
                    // The caller may be gone.
                    let _ = answer.send(());
                })
            })))
        };
        let taskmaster = async {
            match &self.taskmaster {
                Some(taskmaster) => taskmaster.ask(within, look).await,
                None => Ok(()),
            }
        };
        let agent_host = async {
            match &self.agent_host {
                Some(agent_host) => agent_host.ask(within, AgentHostMessage::Ping).await,
                None => Ok(()),
            }
        };
        let (taskmaster, agent_host) = tokio::join!(taskmaster, agent_host);
        taskmaster.and(agent_host)
    }
}
