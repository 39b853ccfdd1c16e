//! A host's request to a runtime: an order of the engine in which everything that only a host can resolve is resolved.

use std::{path::PathBuf, sync::Arc};

use devstack_dag::{
    attempt::Start,
    ids::{AgentName, AttemptId, RoleName},
    plan::{Limits, Network},
    profile::Profile,
};

use devstack_config::secrets::Secret;

/// One attempt, ready to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// The attempt.
    pub attempt: AttemptId,
    /// The agent in the slot; the branch is `feat/<agent>`.
    pub agent: AgentName,
    /// The agent's role.
    pub role: RoleName,
    /// The argv; for a check a shell with the lines.
    pub command: Vec<String>,
    /// The prompt text.
    pub prompt: String,
    /// `task.json`, as bytes.
    pub task_json: Vec<u8>,
    /// Its secrets, by name.
    pub secrets: Vec<(String, Secret)>,
    /// Its clone; `None` for an empty directory.
    pub workspace: Option<Workspace>,
    /// The image, for runtimes that have images.
    pub image: Option<Arc<str>>,
    /// The network access.
    pub network: Network,
    /// The resource limits.
    pub limits: Limits,
    /// The remaining time, in milliseconds.
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// The attempt is ended after this long without output and processor time, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The agent's profile: how it gets its prompt and its secrets, and when it is done. `None` for a plain command.
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
    /// The commits to check out; not [`Start::Empty`].
    pub start: Start,
    /// Whether to commit leftovers and bundle `base..HEAD` at the end. Not for checks.
    pub harvest: bool,
}

/// The author of an agent's commits: name and mail address. The domain is one that never exists (RFC 2606).
pub fn author(agent: &AgentName) -> (String, String) {
    (agent.to_string(), format!("{agent}@devstack.invalid"))
}
