//! A command's way to a node: the one that runs, else one started in this process under the directory's lock.

use std::time::Duration;

use super::{CliError, Node, Seams, StateLock, Workdir, address::Target, client::Client};
use crate::{config::node::NodeConfig, gateway::server};

/// Between looks at a lock that another command holds; those take milliseconds.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// An open way to a node.
pub(super) struct Session {
    /// Where requests go.
    pub(super) client: Client,
    node: Option<(Box<dyn Node>, StateLock)>,
}

/// What was found at a state directory.
pub(super) enum Found {
    /// A node answers on its socket.
    Running(Client),
    /// Nobody is there, and nobody can come: the lock is ours.
    Free(StateLock),
}

/// Looks for the node of a directory; queues behind commands that hold the lock for a moment.
pub(super) async fn find(dir: &Workdir) -> Result<Found, CliError> {
    loop {
        let socket = dir.socket();
        if server::connect(&socket).await.is_ok() {
            return Ok(Found::Running(Client::Socket(socket)));
        }
        let cannot = |e: std::io::Error| CliError::failure(format!("cannot lock {}: {e}", dir.path().display()));
        if let Some(lock) = StateLock::try_acquire(dir.path()).map_err(cannot)? {
            return Ok(Found::Free(lock));
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

impl Session {
    /// A way to the target's node. Started here, it dispatches nothing.
    pub(super) async fn open(target: &Target, seams: Seams) -> Result<Self, CliError> {
        match target {
            Target::Socket(socket) => Ok(Self { client: Client::Socket(socket.clone()), node: None }),
            Target::Dir(dir) => match find(dir).await? {
                Found::Running(client) => Ok(Self { client, node: None }),
                Found::Free(lock) => {
                    let started = seams.node.start(NodeConfig::embedded(dir.path()), false).await;
                    let node = started.map_err(|problem| CliError::new(super::Exit::Failure, problem))?;
                    Ok(Self { client: Client::Router(node.router()), node: Some((node, lock)) })
                }
            },
        }
    }

    /// Is the node in this process, so that nothing moves while it is asked?
    pub(super) fn is_idle(&self) -> bool {
        self.node.is_some()
    }

    /// Ends a node started here, then frees the lock.
    pub(super) async fn close(self) -> Result<(), CliError> {
        match self.node {
            None => Ok(()),
            Some((node, lock)) => {
                let ended = node.shutdown(false).await;
                drop(lock);
                ended.map_err(|problem| CliError::new(super::Exit::Failure, problem))
            }
        }
    }
}
