//! One try of one stage of a task: what a host is ordered to run and what it reports.
//! Deliberately absent: how it is run (the runtime) and where it is stored (the store).

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AgentName, AttemptId, CommitId, RoleName, Text},
    plan::{Limits, Network},
};

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// An agent does the task.
    Work,
    /// The project's checks run on a prepared merge (TESTING, or at the front of the merge queue).
    Check,
}

/// What the workspace of an attempt holds when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Nothing: the project has no repository.
    Empty,
    /// `tip` checked out on the agent's branch; `base` is an ancestor of `tip` (or equal) and of the
    /// integration head; the harvest is `base..HEAD`.
    Commit {
        /// The integration head at dispatch.
        base: CommitId,
        /// What is checked out: the base, the last harvested commit, or a prepared merge.
        tip: CommitId,
    },
    /// `base` checked out with `theirs` being merged: `MERGE_HEAD`, conflict markers in the files.
    Merging {
        /// The integration head at dispatch.
        base: CommitId,
        /// The blocked commit.
        theirs: CommitId,
    },
}

/// Everything a host needs to run one attempt. Self-contained: a host keeps no plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What for.
    pub stage: Stage,
    /// Who fills the slot; the branch is `feat/<agent>`.
    pub agent: AgentName,
    /// The role.
    pub role: RoleName,
    /// The task's title.
    pub title: String,
    /// What to run: argv, or for a check the shell lines in order.
    pub command: Vec<String>,
    /// What the agent is told.
    pub prompt: Text,
    /// What earlier attempts and people said, oldest first.
    pub feedback: Vec<Feedback>,
    /// Set for a resolution task.
    pub conflict: Option<Conflict>,
    /// What the workspace holds.
    pub start: Start,
    /// Names of secrets the agent gets.
    pub secrets: Vec<String>,
    /// The image, where the runtime has images.
    pub image: Option<String>,
    /// What it can reach.
    pub network: Network,
    /// What it may use.
    pub limits: Limits,
    /// The longest it may run, in milliseconds.
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// No output and no processor time for this long ends it, in milliseconds.
    pub idle_timeout_ms: u64,
}

/// Something an agent is told about the past of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// The attempt it is about; 0: a person's hint.
    pub attempt: u32,
    /// For an agent and a person to read.
    pub text: Text,
}

/// Material of a conflict: the two sides, what they were for, and where they clash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The integration head the merge was tried on.
    pub ours: CommitId,
    /// The blocked commit.
    pub theirs: CommitId,
    /// Their merge base.
    pub base: CommitId,
    /// Conflicting paths, at most 100.
    pub paths: Vec<String>,
    /// Git's messages and the prompts of both sides, for an agent and a person to read.
    pub text: Text,
}

/// How an attempt ended. What a host observed; the engine decides what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The command exited by itself. 0 is done, 75 is "try again later".
    Exited(i32),
    /// A signal that devstack did not send ended it.
    Signalled(i32),
    /// It ran longer than its timeout.
    TimedOut,
    /// No output and no processor time for the idle timeout.
    Stalled,
    /// It used more memory than allowed.
    OutOfMemory,
    /// A person or a newer attempt ended it.
    Stopped,
    /// The host or its engine failed, or the attempt could not be started. Never the task's fault.
    Infrastructure(String),
    /// Its result was refused: a secret, a forbidden path. Names the finding.
    Policy(String),
    /// It wrote more to disk than allowed.
    OutOfDisk,
    /// It failed after it had been refused more processes and threads than allowed.
    OutOfProcesses,
}

/// What a host reports when an attempt is over and its result (if any) is pinned in the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which attempt.
    pub attempt: AttemptId,
    /// How it ended.
    pub outcome: Outcome,
    /// The harvested commit; `None`: nothing changed, no repository, or it was refused.
    pub commit: Option<CommitId>,
    /// The last output and the agent's own summary, for feedback.
    pub tail: Text,
    /// Model usage, if the agent reported any.
    pub usage: Option<Usage>,
}

/// Model usage of one attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Millionths of a US dollar.
    pub cost_micros: u64,
}
