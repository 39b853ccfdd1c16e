//! The node as the CLI embeds it, and conflicts checked out into a user's directory. Deliberately absent: sockets and
//! locks (the CLI holds them).

use std::path::Path;

use async_trait::async_trait;
use axum::Router;
use devstack_dag::ids::CommitId;
use tokio::sync::Mutex;

use super::{Mode, Node, NodeError};
use devstack_api::dto;
use devstack_cli as cli;
use devstack_cli::{ByHand, Embed};
use devstack_config::{node::NodeConfig, problem::Problem, secrets::Secrets};
use devstack_repository as repository;
use devstack_repository::{checkout, git::Git};
use devstack_runtime::RuntimeError;

/// Error codes of a node that does not start or ends; stable.
mod code {
    /// A node that cannot start.
    pub(super) const START: &str = "DS0501";
    /// A node that ended by itself.
    pub(super) const FAILED: &str = "DS0502";
    /// Secrets that cannot be read, or that other users can read.
    pub(super) const SECRETS: &str = "DS0503";
    /// A manual result that git refuses.
    pub(super) const BY_HAND: &str = "DS0504";
}

/// Starts nodes in this process.
pub struct Here;

#[async_trait]
impl Embed for Here {
    async fn start(&self, config: NodeConfig, dispatch: bool) -> Result<Box<dyn cli::Node>, Problem> {
        let mode = if dispatch { Mode::Dispatch } else { Mode::ServeOnly };
        let secrets = match mode {
            Mode::Dispatch => secrets_beside(&config.state_dir)?,
            Mode::ServeOnly => Secrets::default(),
        };
        let limits = config.limits;
        let node = Node::start(&config, secrets, mode).await.map_err(|error| not_started(&error))?;
        Ok(Box::new(Embedded { router: node.router(None, limits), node: Mutex::new(node) }))
    }
}

/// A refusal of the runtime that a user can fix contains the fix after a semicolon.
fn not_started(error: &NodeError) -> Problem {
    let text = error.to_string();
    match (error, text.split_once("; ")) {
        (NodeError::Runtime(RuntimeError::Refused(_)), Some((what, fix))) => {
            Problem::new(cli::REFUSED_HERE, what).hint(fix)
        }
        _ => Problem::new(code::START, text),
    }
}

/// `.env` is next to `.devstack`.
fn secrets_beside(state_dir: &Path) -> Result<Secrets, Problem> {
    let file = state_dir.parent().unwrap_or(state_dir).join(".env");
    Secrets::load(&file).map_err(|error| Problem::new(code::SECRETS, error.to_string()))
}

struct Embedded {
    router: Router,
    node: Mutex<Node>,
}

#[async_trait]
impl cli::Node for Embedded {
    fn router(&self) -> Router {
        self.router.clone()
    }

    async fn failed(&self) -> Problem {
        Problem::new(code::FAILED, self.node.lock().await.failed().await)
    }

    async fn shutdown(self: Box<Self>, stop_attempts: bool) -> Result<(), Problem> {
        self.node.into_inner().stop(stop_attempts).await;
        Ok(())
    }
}

#[async_trait]
impl ByHand for Here {
    fn checkout(&self, conflict: &dto::Conflict, dir: &Path) -> Result<bool, Problem> {
        let lay_out = || {
            let theirs = conflict.theirs.as_deref().map(commit).transpose()?;
            let (hub, ours) = (Path::new(&conflict.hub), commit(&conflict.ours)?);
            checkout::checkout_by_hand(&Git::probe()?, hub, dir, ours, theirs, &conflict.branch)
        };
        lay_out().map_err(|error: repository::Error| by_hand(&error))
    }

    fn bundle(&self, conflict: &dto::Conflict, dir: &Path, bundle: &Path) -> Result<String, Problem> {
        let write = || {
            let theirs = conflict.theirs.as_deref().map(commit).transpose()?;
            let must_contain: Vec<CommitId> = theirs.into_iter().collect();
            checkout::bundle_from_dir(&Git::probe()?, dir, commit(&conflict.base)?, &must_contain, bundle)
        };
        write().map(|commit| commit.to_string()).map_err(|error: repository::Error| by_hand(&error))
    }
}

fn commit(text: &str) -> Result<CommitId, repository::Error> {
    text.parse().map_err(|_| repository::Error::NotACommit(text.chars().take(80).collect()))
}

/// Git's refusals end with their fix after a semicolon.
fn by_hand(error: &repository::Error) -> Problem {
    let text = error.to_string();
    match text.split_once("; ") {
        Some((what, fix)) => Problem::new(code::BY_HAND, what).hint(fix),
        None => Problem::new(code::BY_HAND, text),
    }
}
