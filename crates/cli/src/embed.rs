//! What the CLI needs from the rest of devstack apart from HTTP: a node in this process, and conflicts resolved by
//! hand. Both are traits ("seams") that `bin/devstack.rs` implements.
//! Deliberately absent: the node itself.

use std::path::Path;

use async_trait::async_trait;
use axum::Router;

use devstack_api::dto;
use devstack_config::{node::NodeConfig, problem::Problem};

/// Starts nodes in this process.
#[async_trait]
pub trait Embed: Send + Sync {
    /// Starts a node on `config.state_dir`, whose lock the caller holds. Without `dispatch` the node starts no attempt
    /// and runs no effect: it only answers, on the runtime of the caller (one thread, for commands that only query).
    /// The node binds no socket; the caller does.
    ///
    /// # Errors
    /// Why the node cannot start; nothing was changed.
    async fn start(&self, config: NodeConfig, dispatch: bool) -> Result<Box<dyn Node>, Problem>;
}

/// A node in this process.
#[async_trait]
pub trait Node: Send + Sync {
    /// The API.
    fn router(&self) -> Router;

    /// Returns when the node cannot continue, with the reason.
    async fn failed(&self) -> Problem;

    /// Shuts the node down. Attempts keep running for the next node, or are stopped first.
    ///
    /// # Errors
    /// What could not be stopped in time.
    async fn shutdown(self: Box<Self>, stop_attempts: bool) -> Result<(), Problem>;
}

/// Resolves conflicts and completes manual tasks in a directory of the caller. Blocking.
pub trait ByHand: Send + Sync {
    /// Checks the task out into a new directory. Returns whether there are conflicts to resolve.
    ///
    /// # Errors
    /// Why not; a directory that is not empty is refused.
    fn checkout(&self, conflict: &dto::Conflict, dir: &Path) -> Result<bool, Problem>;

    /// Writes the commit that is checked out in `dir` to a bundle; returns the commit.
    ///
    /// # Errors
    /// Why not: an unfinished merge, uncommitted changes, or a missing parent commit.
    fn bundle(&self, conflict: &dto::Conflict, dir: &Path, bundle: &Path) -> Result<String, Problem>;
}

/// The implementations of the seams.
#[derive(Clone, Copy)]
pub struct Seams {
    /// Starts nodes.
    pub node: &'static dyn Embed,
    /// Resolves conflicts by hand.
    pub by_hand: &'static dyn ByHand,
}
