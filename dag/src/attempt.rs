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

/// What an attempt is for.
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
    #[serde(deserialize_with = "within::<bounds::Title, _, _>")]
    pub title: String,
    /// What to run: argv, or for a check the shell lines in order.
    #[serde(deserialize_with = "within::<bounds::CommandLine, _, _>")]
    pub command: Vec<String>,
    /// What the agent is told: the whole of it where it is composed, else what the task's author wrote.
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    pub prompt: Text,
    /// What earlier attempts and people said, oldest first.
    #[serde(deserialize_with = "within::<bounds::FeedbackList, _, _>")]
    pub feedback: Vec<Feedback>,
    /// Set for a resolution task.
    #[serde(deserialize_with = "within::<bounds::ConflictPaths, _, _>")]
    pub conflict: Option<Conflict>,
    /// What the workspace holds.
    pub start: Start,
    /// Names of secrets the agent gets.
    #[serde(deserialize_with = "within::<bounds::OrderedSecrets, _, _>")]
    pub secrets: Vec<String>,
    /// The image, where the runtime has images.
    #[serde(deserialize_with = "within::<bounds::LongName, _, _>")]
    pub image: Option<Arc<str>>,
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
    /// What the agent is: how it is run and what its output means. `None`: a plain command.
    #[serde(deserialize_with = "within::<bounds::ProfileTexts, _, _>")]
    pub profile: Option<Arc<Profile>>,
    /// The model it was told to use, for prices.
    #[serde(deserialize_with = "within::<bounds::LongName, _, _>")]
    pub model: Option<Box<str>>,
    /// Is the prompt whole? Then the host adds nothing to it. Orders of a Taskmaster of wire version 1 have prompts that the
    /// host completes.
    pub composed: bool,
    /// The attempt is replaced when its host is silent this long, in milliseconds; `None`: as the Taskmaster's welcome says.
    pub max_disconnect_ms: Option<u64>,
    /// The tasks that this one builds on, in the order of the plan; at most [`Order::DEPENDENCIES_MAX`].
    #[serde(deserialize_with = "within::<bounds::DependencyList, _, _>")]
    pub dependencies: Vec<Dependency>,
    /// So many more of them.
    pub more_dependencies: u32,
    /// What the task's author wrote, where the composed prompt has room for its beginning only.
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    pub whole_prompt: Option<Text>,
}

impl Order {
    /// The most dependencies that are told, with up to 2 KiB of summary each: an order fits into a frame of 1 MiB.
    pub const DEPENDENCIES_MAX: usize = 128;

    /// Every text in it, wherever it is kept.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        // Every field is named, so that a new one is thought of here.
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

/// A task that another one builds on, as its agent is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Which.
    pub id: TaskId,
    /// Its title.
    pub title: Box<str>,
    /// What its agent says that it did; an agent's claim.
    pub summary: Option<Text>,
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
    /// The provider of its models wants no more for now.
    RateLimited {
        /// When it may go on, as the provider says; an agent's claim.
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

/// What a host reports when an attempt is over and its result (if any) is pinned in the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which attempt.
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
    /// What else it left.
    #[serde(deserialize_with = "within::<bounds::LeftBehind, _, _>")]
    pub left: Left,
    /// What the agent says that it did; an agent's claim.
    #[serde(deserialize_with = "within::<bounds::InlineText, _, _>")]
    pub summary: Option<Text>,
    /// Why a person must look at the result before it is merged. Set by the Taskmaster's own import, never by a host.
    #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
    pub held: Option<Box<str>>,
}

impl Report {
    /// The report of an attempt that left nothing and said nothing.
    pub fn new(attempt: AttemptId, outcome: Outcome) -> Self {
        let (commit, tail, usage) = (None, Text::empty(), None);
        Self { attempt, outcome, commit, tail, usage, left: Left::default(), summary: None, held: None }
    }
}

/// What an attempt left besides its result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// What could not be taken into the result.
    pub skipped: Vec<Skipped>,
    /// So many more were skipped.
    pub more: u32,
    /// Other branches with new commits; pinned in the hub, and not merged.
    pub branches: Vec<Branch>,
}

impl Left {
    /// What [`Skipped::path`] is when the whole repository was destroyed, so that nothing could be taken.
    pub const REPOSITORY: &str = ".git";
    /// Entries of a list that are kept; more are counted.
    pub const SKIPPED_MAX: usize = 50;
    /// Branches that are kept.
    pub const BRANCHES_MAX: usize = 16;

    /// Did it leave nothing else?
    pub fn is_empty(&self) -> bool {
        self.skipped.is_empty() && self.more == 0 && self.branches.is_empty()
    }

    /// Was its repository destroyed, and with it whatever it may have made? The reason.
    pub fn destroyed(&self) -> Option<&str> {
        self.skipped.iter().find(|one| &*one.path == Self::REPOSITORY).map(|one| &*one.why)
    }

    /// With lists of at most so many entries and `max` bytes of text; skipped paths that do not fit are counted.
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
    /// Where, within the workspace.
    pub path: Box<str>,
    /// Why, for people and agents.
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

/// Model usage of one attempt, as far as the agent says. Unknown is never 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, without those from or to a cache.
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
