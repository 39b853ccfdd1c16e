//! One try of one stage of a task: what a host is ordered to run and what it reports.
//! Deliberately absent: how it is run (the runtime) and where it is stored (the store).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    bounds::{self, within},
    ids::{AgentName, AttemptId, CommitId, RoleName, TaskId, Text, Timestamp},
    plan::{Limits, Network},
    profile::Profile,
};

/// The purpose of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// An agent does the task.
    Work,
    /// The project's checks run on a prepared merge (TESTING, or at the front of the merge queue).
    Check,
}

impl Stage {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Check => "check",
        }
    }
}

/// What the workspace of an attempt holds when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Nothing: the project has no repository.
    Empty,
    /// `tip` is checked out on the agent's branch. `base` is an ancestor of `tip` (or equal) and of the integration
    /// head. The harvest is `base..HEAD`.
    Commit {
        /// The integration head at dispatch.
        base: CommitId,
        /// The commit to check out: the base, the last harvested commit, or a prepared merge.
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

impl Start {
    /// The integration head at dispatch, an ancestor of every result. `None`: the project has no repository.
    pub fn base(&self) -> Option<CommitId> {
        match self {
            Self::Empty => None,
            Self::Commit { base, .. } | Self::Merging { base, .. } => Some(*base),
        }
    }

    /// The commit besides the base that the workspace is made from: the tip, or the side to merge. It can be the base.
    pub fn other(&self) -> Option<CommitId> {
        match self {
            Self::Empty => None,
            Self::Commit { tip, .. } => Some(*tip),
            Self::Merging { theirs, .. } => Some(*theirs),
        }
    }

    /// The commits besides the base that every result must contain: for a resolution, the other side.
    pub fn must_contain(&self) -> &[CommitId] {
        match self {
            Self::Empty | Self::Commit { .. } => &[],
            Self::Merging { theirs, .. } => std::slice::from_ref(theirs),
        }
    }
}

/// Everything a host needs to run one attempt. Self-contained: a host keeps no plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its stage.
    pub stage: Stage,
    /// The agent that fills the slot; the branch is `feat/<agent>`.
    pub agent: AgentName,
    /// The role.
    pub role: RoleName,
    /// The task's title.
    #[serde(deserialize_with = "within::<bounds::Title, _, _>")]
    pub title: String,
    /// The command: argv, or for a check the shell lines in order.
    #[serde(deserialize_with = "within::<bounds::CommandLine, _, _>")]
    pub command: Vec<String>,
    /// The agent's prompt: the whole composed prompt, otherwise the text of the task's author.
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    pub prompt: Text,
    /// Feedback of earlier attempts and users, oldest first.
    #[serde(deserialize_with = "within::<bounds::FeedbackList, _, _>")]
    pub feedback: Vec<Feedback>,
    /// Set for a resolution task.
    #[serde(deserialize_with = "within::<bounds::ConflictPaths, _, _>")]
    pub conflict: Option<Conflict>,
    /// The content of the workspace at the start.
    pub start: Start,
    /// Names of the secrets for the agent.
    #[serde(deserialize_with = "within::<bounds::OrderedSecrets, _, _>")]
    pub secrets: Vec<String>,
    /// The image, if the runtime has images.
    #[serde(deserialize_with = "within::<bounds::LongName, _, _>")]
    pub image: Option<Arc<str>>,
    /// The network access.
    pub network: Network,
    /// The resource limits.
    pub limits: Limits,
    /// The timeout, in milliseconds.
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// The attempt ends after this long without output and processor time, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The agent's profile: how to run the agent and how to read its output. `None`: a plain command.
    #[serde(deserialize_with = "within::<bounds::ProfileTexts, _, _>")]
    pub profile: Option<Arc<Profile>>,
    /// The model that the agent must use, for prices.
    #[serde(deserialize_with = "within::<bounds::LongName, _, _>")]
    pub model: Option<Box<str>>,
    /// Whether the prompt is complete. If so, the host adds nothing. Orders of a Taskmaster of wire version 1 have
    /// prompts that the host completes.
    pub composed: bool,
    /// The attempt is replaced when its host is silent this long, in milliseconds. `None`: as in the Taskmaster's
    /// welcome.
    pub max_disconnect_ms: Option<u64>,
    /// The dependencies of this task, in the order of the plan; at most [`Order::DEPENDENCIES_MAX`].
    #[serde(deserialize_with = "within::<bounds::DependencyList, _, _>")]
    pub dependencies: Vec<Dependency>,
    /// The number of further dependencies.
    pub more_dependencies: u32,
    /// The text of the task's author, if the composed prompt has room for its beginning only.
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    pub whole_prompt: Option<Text>,
}

impl Order {
    /// The most dependencies in an order, with up to 2 KiB of summary each: an order fits into a frame of 1 MiB.
    pub const DEPENDENCIES_MAX: usize = 128;

    /// Every text of the order, wherever it is kept.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        // All fields are listed, so that the compiler points here when a field is added.
        let Self {
            prompt,
            feedback,
            conflict,
            attempt: _,
            stage: _,
            agent: _,
            role: _,
            title: _,
            command: _,
            start: _,
            secrets: _,
            image: _,
            network: _,
            limits: _,
            timeout_ms: _,
            grace_ms: _,
            idle_timeout_ms: _,
            profile: _,
            model: _,
            composed: _,
            max_disconnect_ms: _,
            dependencies,
            more_dependencies: _,
            whole_prompt,
        } = self;
        let said = feedback.iter().map(|feedback| &feedback.text);
        let summaries = dependencies.iter().filter_map(|dependency| dependency.summary.as_ref());
        let texts = std::iter::once(prompt).chain(said).chain(conflict.iter().map(|conflict| &conflict.text));
        texts.chain(summaries).chain(whole_prompt)
    }
}

/// A dependency, as its dependent's agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The task.
    pub id: TaskId,
    /// Its title.
    pub title: Box<str>,
    /// What its agent says it did; an agent's claim.
    pub summary: Option<Text>,
}

/// A message for an agent about the past of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// The attempt of the message; 0: a user's hint.
    pub attempt: u32,
    /// Text for agents and humans.
    pub text: Text,
}

/// Material of a conflict: the two sides, their purposes, and the conflicting paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The integration head on which the merge was tried.
    pub ours: CommitId,
    /// The blocked commit.
    pub theirs: CommitId,
    /// Their merge base.
    pub base: CommitId,
    /// Conflicting paths, at most 100.
    pub paths: Vec<String>,
    /// Git's messages and the prompts of both sides, for agents and humans.
    pub text: Text,
}

/// How an attempt ended. The host observes it; the engine decides what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The command exited by itself. 0 is success, 75 is "try again later".
    Exited(i32),
    /// A signal ended it, and devstack did not send the signal.
    Signalled(i32),
    /// It ran longer than its timeout.
    TimedOut,
    /// No output and no processor time for the idle timeout.
    Stalled,
    /// It used more memory than allowed.
    OutOfMemory,
    /// A user or a newer attempt ended it.
    Stopped,
    /// The host or its engine failed, or the attempt could not be started. The task is never at fault.
    Infrastructure(String),
    /// Its result was refused: a secret, a forbidden path. The text names the finding.
    Policy(String),
    /// It wrote more to disk than allowed.
    OutOfDisk,
    /// It failed after it was refused more processes and threads than allowed.
    OutOfProcesses,
    /// The provider of its models refuses requests for now.
    RateLimited {
        /// When the provider accepts requests again, as the provider says; an agent's claim.
        reset: Option<Timestamp>,
    },
}

impl Outcome {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Exited(0) => "done",
            Self::Exited(75) => "try-again-later",
            Self::Exited(_) | Self::Signalled(_) => "failed",
            Self::TimedOut => "timed-out",
            Self::Stalled => "stalled",
            Self::OutOfMemory => "out-of-memory",
            Self::OutOfDisk => "out-of-disk",
            Self::OutOfProcesses => "out-of-processes",
            Self::Stopped => "stopped",
            Self::Infrastructure(_) => "infrastructure",
            Self::Policy(_) => "policy",
            Self::RateLimited { .. } => "rate-limited",
        }
    }
}

/// What a host reports when an attempt has ended and its result (if any) is pinned in the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The attempt.
    pub attempt: AttemptId,
    /// How it ended.
    #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
    pub outcome: Outcome,
    /// The harvested commit; `None`: nothing changed, no repository, or it was refused.
    pub commit: Option<CommitId>,
    /// The last output and the agent's own summary, for feedback.
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    pub tail: Text,
    /// Model usage, if the agent reported any.
    #[serde(deserialize_with = "within::<bounds::SessionName, _, _>")]
    pub usage: Option<Usage>,
    /// What else the attempt left.
    #[serde(deserialize_with = "within::<bounds::LeftBehind, _, _>")]
    pub left: Left,
    /// What the agent says it did; an agent's claim.
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    pub summary: Option<Text>,
    /// Why a human must review the result before it is merged. Set by the Taskmaster's own import, never by a host.
    #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
    pub held: Option<Box<str>>,
}

impl Report {
    /// The report of an attempt that left nothing and printed nothing.
    pub fn new(attempt: AttemptId, outcome: Outcome) -> Self {
        let (commit, tail, usage) = (None, Text::empty(), None);
        Self { attempt, outcome, commit, tail, usage, left: Left::default(), summary: None, held: None }
    }
}

/// What an attempt left besides its result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Paths that could not be taken into the result.
    pub skipped: Vec<Skipped>,
    /// The number of further skipped paths.
    pub more: u32,
    /// Other branches with new commits; pinned in the hub, and not merged.
    pub branches: Vec<Branch>,
}

impl Left {
    /// The value of [`Skipped::path`] when the whole repository was destroyed, so that nothing could be taken.
    pub const REPOSITORY: &str = ".git";
    /// Entries that are kept per list; further entries are only counted.
    pub const SKIPPED_MAX: usize = 50;
    /// Branches that are kept.
    pub const BRANCHES_MAX: usize = 16;

    /// Whether the attempt left nothing else.
    pub fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.more == 0 && self.branches.is_empty()
    }

    /// The reason, if its repository was destroyed, and with it all its work.
    pub fn destroyed(&self) -> Option<&str> {
        self.skipped.iter().find(|one| &*one.path == Self::REPOSITORY).map(|one| &*one.why)
    }

    /// With lists of at most this many entries and `max` bytes of text. Skipped paths that do not fit are counted.
    pub fn bounded(mut self, max: usize) -> Self {
        self.branches.truncate(Self::BRANCHES_MAX);
        let mut sum = 0;
        let mut fits = |bytes: usize| {
            sum += bytes;
            sum <= max
        };
        self.branches.retain(|branch| fits(branch.name.len()));
        let kept = self.skipped.iter().take(Self::SKIPPED_MAX).take_while(|one| fits(one.path.len() + one.why.len()));
        let kept = kept.count();
        self.more = self.more.saturating_add(u32::try_from(self.skipped.len() - kept).unwrap_or(u32::MAX));
        self.skipped.truncate(kept);
        self
    }
}

/// A path that could not be taken into a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The path, within the workspace.
    pub path: Box<str>,
    /// The reason, for humans and agents.
    pub why: Box<str>,
}

/// A branch of a workspace besides the agent's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Its name, without `refs/heads/`.
    pub name: Box<str>,
    /// Its last commit.
    pub commit: CommitId,
}

/// Model usage of one attempt, as far as the agent reports it. Unknown is never 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, without cached tokens.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Tokens read from the cache.
    pub cache_read_tokens: Option<u64>,
    /// Tokens read and written to the cache.
    pub cache_write_tokens: Option<u64>,
    /// Millionths of a US dollar.
    pub cost_micros: Option<u64>,
    /// Turns.
    pub turns: Option<u32>,
    /// The agent's own name for the conversation, at most 128 bytes.
    pub session: Option<Box<str>>,
}
