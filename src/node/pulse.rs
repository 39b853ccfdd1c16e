//! Does the node live? Its actors are asked, and only their answers count: a process that runs while they hang does not.
//! Deliberately absent: doing something about it (the service manager ends and restarts the process).

use std::time::Duration;

use crate::{
    actor::{Address, Gone},
    agent_host::message::AgentHostMessage,
    taskmaster::message::{Look, TaskmasterMessage},
};

/// Asks the actors of a node. Cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    /// `None`: it is on another machine.
    pub(super) taskmaster: Option<Address<TaskmasterMessage>>,
    /// `None`: this node runs no attempts.
    pub(super) agent_host: Option<Address<AgentHostMessage>>,
}

impl Pulse {
    /// Each actor answers within this time, the Taskmaster also for what its journal has to write.
    ///
    /// # Errors
    /// The first that does not.
    pub async fn beats(&self, within: Duration) -> Result<(), Gone> {
        let look = |answer: tokio::sync::oneshot::Sender<()>| {
            TaskmasterMessage::Look(Look(Box::new(|_| {
                Box::new(move || {
                    // Whoever asked has gone.
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
