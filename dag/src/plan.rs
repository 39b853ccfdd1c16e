//! A submitted plan, after the plan file was parsed, defaults were filled in and every name was resolved: the engine
//! sees no TOML and no default.
//! Deliberately absent: reading files (the CLI and the gateway do) and secret values (only names).

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ProjectName, RoleName, TaskId, Text},
    profile::Profile,
};

/// A project with its roles, as one submission describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSpec {
    /// The project's name.
    pub name: ProjectName,
    /// Path or URL of the user's repository; `None`: tasks are plain commands, and nothing is merged.
    pub source: Option<String>,
    /// The branch that the integration branch starts from; `None`: the source's HEAD branch.
    pub base: Option<String>,
    /// The integration branch.
    pub integration: String,
    /// Shell commands run in TESTING and again on the merged tree.
    pub checks: Vec<String>,
    /// Who reviews.
    pub review: Review,
    /// The role for conflicts; `None`: a human.
    pub resolver: Option<RoleName>,
    /// The roles, by name, sorted.
    pub roles: Vec<RoleSpec>,
    /// The profiles that roles name, by name, sorted.
    pub profiles: Vec<Arc<Profile>>,
    /// The budget of all attempts together, in millionths of a US dollar.
    pub budget_micros: Option<u64>,
    /// Globs of paths that a result may only change with a user's approval.
    #[serde(default)]
    pub protected: Vec<String>,
    /// Where the checks run, as seen from the host that did the work.
    #[serde(default)]
    pub verify_on: VerifyOn,
    /// The template of the agents' prompts; `None`: the shipped template.
    #[serde(default)]
    pub prompt_template: Option<Text>,
}

/// Where the checks of a result run. A preference: nothing waits for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerifyOn {
    /// On any host.
    Any,
    /// On another host than the one that did the work, if another host accepts the role and has a free slot.
    #[default]
    OtherHost,
}

/// Who decides in REVIEW.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Review {
    /// The stage is skipped.
    None,
    /// A user: `task approve`, `task request-changes`.
    Human,
}

/// A role: how its agents are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// The name.
    pub name: RoleName,
    /// The most slots that it fills at once; agents are `<name>1 ..= <name><count>`.
    pub count: u32,
    /// The command for tasks without a command of their own; with a profile, its command line with this role's
    /// settings.
    pub command: Vec<String>,
    /// The container image, if the runtime has images: as the plan names it, or `name@sha256:…` after submission.
    pub image: Option<Arc<str>>,
    /// Names of secrets the agents get.
    pub secrets: Vec<String>,
    /// The network access.
    pub network: Network,
    /// The resource limits.
    pub limits: Limits,
    /// The profile of its agents.
    pub profile: Option<ProfileUse>,
    /// The budget of this role's attempts in the project together, in millionths of a US dollar.
    pub max_cost_micros: Option<u64>,
    /// Labels that the host must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its attempts are replaced when their host is silent this long, in milliseconds; `None`: as the task's timeout
    /// and the Taskmaster's configuration say.
    #[serde(default)]
    pub max_disconnect_ms: Option<u64>,
}

/// A profile, as a role uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileUse {
    /// One of [`ProjectSpec::profiles`].
    pub name: Box<str>,
    /// The model; `None`: the agent's own default.
    pub model: Option<Box<str>>,
    /// The most turns of an attempt.
    pub max_turns: Option<u32>,
}

impl ProjectSpec {
    /// The profile of a role.
    pub fn profile_of(&self, role: &RoleSpec) -> Option<&Arc<Profile>> {
        let name = &role.profile.as_ref()?.name;
        self.profiles.iter().find(|profile| profile.name == *name)
    }
}

/// Network access of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Nothing.
    None,
    /// The private bridge; in the `process` runtime the host's network.
    Bridge,
}

/// Resource limits of an attempt. `None`: the runtime's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// The urgency of a task. Ordered: `Critical` first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// Before everything else.
    Critical,
    /// Before medium.
    High,
    /// The default.
    Medium,
    /// When nothing else is ready.
    Low,
}

/// The executor of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Executor {
    /// An agent of this role.
    Agent(RoleName),
    /// A user: `task resolve`.
    Human,
}

/// Where the next attempt starts after one that produced a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryFrom {
    /// The last attempt's harvested commit.
    Last,
    /// The integration head.
    Fresh,
}

/// A task as submitted, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The id, unique in the project.
    pub id: TaskId,
    /// One line for humans and merge commits.
    pub title: Box<str>,
    /// The text for the agent.
    pub prompt: Text,
    /// Tasks that must be COMPLETED before an attempt starts.
    pub dependencies: Box<[TaskId]>,
    /// The urgency.
    pub priority: Priority,
    /// The executor.
    pub executor: Executor,
    /// The command, instead of the role's.
    pub command: Option<Box<[Box<str>]>>,
    /// The timeout of an attempt, in milliseconds.
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// An attempt ends after this long without output and processor time, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Charged attempts allowed.
    pub attempts: u32,
    /// Where a retry starts.
    pub retry_from: RetryFrom,
    /// Whether an attempt that changes nothing counts as done.
    pub allow_empty: bool,
    /// Whether its result may delete a large part of the tree without a user's approval.
    #[serde(default)]
    pub mass_delete: bool,
    /// Globs of protected paths that its result may change without a user's approval.
    #[serde(default)]
    pub may_change: Box<[Box<str>]>,
}

/// Tasks submitted together for a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSpec {
    /// The project, to be created or updated.
    pub project: ProjectSpec,
    /// The tasks, in file order.
    pub tasks: Vec<TaskSpec>,
}
