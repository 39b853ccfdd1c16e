//! What a host asks a runtime to run: an order of the engine with everything resolved that only a host can resolve.

use std::{path::PathBuf, sync::Arc};

use devstack_dag::{
    attempt::Start,
    ids::{AgentName, AttemptId, RoleName},
    plan::{Limits, Network},
    profile::Profile,
};

use crate::config::secrets::Secret;

/// One attempt, ready to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Who fills the slot; the branch is `feat/<agent>`.
    pub agent: AgentName,
    /// In which role.
    pub role: RoleName,
    /// The argv; for a check a shell with the lines.
    pub command: Vec<String>,
    /// What the agent is told, as text.
    pub prompt: String,
    /// `task.json`, as bytes.
    pub task_json: Vec<u8>,
    /// The secrets it gets, by name.
    pub secrets: Vec<(String, Secret)>,
    /// Its clone; `None`: an empty directory.
    pub workspace: Option<Workspace>,
    /// The image, for runtimes that have images.
    pub image: Option<Arc<str>>,
    /// What it can reach.
    pub network: Network,
    /// What it may use.
    pub limits: Limits,
    /// What is left of its time, in milliseconds.
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// No output and no processor time for this long ends it, in milliseconds.
    pub idle_timeout_ms: u64,
    /// What the agent is: how it gets its prompt and its secrets, and when it is done. `None`: a plain command.
    pub profile: Option<Arc<Profile>>,
}

/// A clone to make for an attempt.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The `objects` directory of the mirror, readable by the agent's user; never written.
    pub mirror_objects: PathBuf,
    /// Bundles for commits that the mirror lacks (a harvested tip, `theirs`); copied for the attempt.
    pub bundles: Vec<PathBuf>,
    /// The integration branch; seen as `origin/<integration>`.
    pub integration: String,
    /// What is checked out; not [`Start::Empty`].
    pub start: Start,
    /// Commit leftovers and bundle `base..HEAD` at the end. Not for checks.
    pub harvest: bool,
}

/// The author of an agent's commits: name and mail address. The domain is one that never exists (RFC 2606).
pub fn author(agent: &AgentName) -> (String, String) {
    (agent.to_string(), format!("{agent}@devstack.invalid"))
}
