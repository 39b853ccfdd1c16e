//! What the CLI needs of the rest of devstack beyond HTTP, as seams that `bin/devstack.rs` connects: the node in this
//! process, and conflicts done by hand.
//! Deliberately absent: the node itself.

use std::path::Path;

use async_trait::async_trait;
use axum::Router;

use crate::{
    config::{node::NodeConfig, problem::Problem},
    gateway::dto,
};

/// Starts nodes in this process.
#[async_trait]
pub trait Embed: Send + Sync {
    /// Starts a node on `config.state_dir`, whose lock the caller holds. Without `dispatch` it starts no attempt and
    /// runs no effect: it only answers, on whatever runtime it was called (one thread, for commands that only ask).
    /// The node binds no socket; the caller does.
    ///
    /// # Errors
    /// Why it cannot start; nothing was changed.
    async fn start(&self, config: NodeConfig, dispatch: bool) -> Result<Box<dyn Node>, Problem>;
}

/// A node in this process.
#[async_trait]
pub trait Node: Send + Sync {
    /// The API.
    fn router(&self) -> Router;

    /// Returns when the node cannot go on, with the reason.
    async fn failed(&self) -> Problem;

    /// Ends it. Attempts are left to be re-adopted, or stopped first.
    ///
    /// # Errors
    /// What could not be ended in time.
    async fn shutdown(self: Box<Self>, stop_attempts: bool) -> Result<(), Problem>;
}

/// Conflicts and people's tasks, done by hand in a directory of the caller. Blocking.
pub trait ByHand: Send + Sync {
    /// Lays the task out in a new directory; are there conflicts to mend?
    ///
    /// # Errors
    /// Why not; a directory that has something in it is refused.
    fn checkout(&self, conflict: &dto::Conflict, dir: &Path) -> Result<bool, Problem>;

    /// Writes the commit that is checked out in `dir` to a bundle; returns the commit.
    ///
    /// # Errors
    /// Why not: an unfinished merge, uncommitted changes, a side that is missing.
    fn bundle(&self, conflict: &dto::Conflict, dir: &Path, bundle: &Path) -> Result<String, Problem>;
}

/// The seams.
#[derive(Clone, Copy)]
pub struct Seams {
    /// Starts nodes.
    pub node: &'static dyn Embed,
    /// Does conflicts by hand.
    pub by_hand: &'static dyn ByHand,
}
