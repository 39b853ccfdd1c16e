//! What the store keeps of a project, plan, task, attempt, merge and host. Records are state, facts are history: a node
//! opens its store from the records alone. Durations are stored, due times never are: a restart gives a full back-off
//! again, so a stepped wall clock can make nothing early or late.
//! Deliberately absent: encoding (the store's job) and derived state (ready set, agents in use).

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    attempt::{Conflict, Feedback, Left, Outcome, Stage, Start, Usage},
    command::Quarantine,
    ids::{AgentName, AttemptId, CommitId, HostName, MergeId, ProjectName, RoleName, TaskId, TaskRef, Text, Timestamp},
    plan::{ProjectSpec, TaskSpec},
};

/// Public status of a task (stable words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Waits for dependencies, a slot, a back-off, or a user (executor human).
    Todo,
    /// An attempt works.
    Wip,
    /// The project's checks run.
    Testing,
    /// A user decides.
    Review,
    /// In the merge queue.
    Approved,
    /// Proven done.
    Completed,
    /// Waits for a user or a resolution; never terminal.
    Blocked,
    /// Rejected; terminal.
    Rejected,
}

/// Why a task is BLOCKED (stable words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BlockedReason {
    /// Its commit conflicts with the integration branch; a resolution task exists.
    Conflict,
    /// All charged attempts failed.
    AttemptsExhausted,
    /// A dependency was rejected.
    DependencyRejected,
    /// Too many uncharged returns in a row, or something that only a user can do.
    NeedsHuman,
    /// All attempts failed, the last on checks of the merged tree.
    MergeCheckFailed,
    /// The result has a secret or a forbidden path.
    Policy,
}

/// The kind of a task. Append-only, like everything that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Submitted by a user.
    Work,
    /// Created by a conflict.
    Resolve {
        /// The blocked task.
        resolves: TaskId,
        /// The conflict.
        conflict: Box<Conflict>,
    },
    /// Created because the source has commits that conflict with the hub's. It blocks no task: delivery waits for it.
    Sync {
        /// The conflict; `theirs` is the source's commit.
        conflict: Box<Conflict>,
    },
}

impl Kind {
    /// The conflict to resolve; `None` for work.
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Work => None,
            Self::Resolve { conflict, .. } | Self::Sync { conflict } => Some(conflict),
        }
    }

    /// The blocked task that it unblocks, if it blocks one.
    pub fn resolves(&self) -> Option<&TaskId> {
        match self {
            Self::Resolve { resolves, .. } => Some(resolves),
            Self::Work | Self::Sync { .. } => None,
        }
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The project.
    pub project: ProjectName,
    /// Counts from 0 over all projects, in the order of submission, without gaps: its order shows the age of a task.
    pub seq: u32,
    /// As submitted.
    pub spec: Arc<TaskSpec>,
    /// Work or resolve.
    pub kind: Kind,
    /// The plan that added it.
    pub plan: u32,
    /// The status.
    pub status: Status,
    /// Why it is BLOCKED: the reason, and a sentence for humans.
    pub blocked: Option<(BlockedReason, Box<str>)>,
    /// Why it is REJECTED: a user's reason, `cancelled` or `superseded`.
    pub rejected: Option<Box<str>>,
    /// Attempts started, over all stages; the newest is the valid one.
    pub attempts: u32,
    /// Charged attempts since the budget was last renewed.
    pub charged: u32,
    /// Uncharged returns in a row, in the units of `Config::returns_cap`.
    pub uncharged: u32,
    /// Returns in a row because of a provider's limit.
    pub limited: u32,
    /// The back-off before its next attempt, in milliseconds.
    pub backoff_ms: Option<u64>,
    /// The newest work attempt with a harvested commit, and that commit.
    pub harvested: Option<(u32, CommitId)>,
    /// The agent that made it; `feat/<agent>`.
    pub agent: Option<AgentName>,
    /// The prepared merge whose checks run or passed: the head it was prepared on and the merge commit.
    pub candidate: Option<(CommitId, CommitId)>,
    /// When it entered the merge queue. Kept while the checks run again on a newer head, so that nobody reviews twice.
    pub approved_at: Option<Timestamp>,
    /// The merge in flight, between intent and outcome: retry and reject are refused meanwhile.
    pub merging: Option<MergeId>,
    /// The merge commit that completed it.
    pub merge_commit: Option<CommitId>,
    /// The resolution task that completed it.
    pub resolved_by: Option<TaskId>,
    /// Feedback of earlier attempts and users; the newest last, bounded by `Config::feedback_kept` and
    /// `feedback_bytes`.
    pub feedback: Vec<Feedback>,
    /// When it was delivered to the source.
    pub delivered_at: Option<Timestamp>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When anything last changed.
    pub updated_at: Timestamp,
    /// Why a human must review its result before it is merged.
    #[serde(default)]
    pub held: Option<Box<str>>,
    /// What the agent of its newest result says it did; an agent's claim.
    #[serde(default)]
    pub summary: Option<Text>,
    /// Work attempts that stalled without being charged, since the budget was last renewed.
    #[serde(default)]
    pub stalls: u32,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its stage.
    pub stage: Stage,
    /// The host.
    pub host: HostName,
    /// The agent.
    pub agent: AgentName,
    /// The role.
    pub role: RoleName,
    /// The content of its workspace at the start.
    pub start: Start,
    /// The image it ran in, resolved at submission; `None`: the runtime has no images.
    pub image: Option<Arc<str>>,
    /// Whether somebody asked to stop it. If so, a failure counts as [`Outcome::Stopped`].
    pub stopping: bool,
    /// How it ended; `None`: it is running.
    pub outcome: Option<Outcome>,
    /// Whether it was charged to the task.
    pub charged: bool,
    /// Its harvested commit.
    pub commit: Option<CommitId>,
    /// Model usage.
    pub usage: Option<Usage>,
    /// When it was ordered.
    pub started_at: Timestamp,
    /// When its report was accepted.
    pub ended_at: Option<Timestamp>,
    /// What it left besides its result; `None`: nothing.
    #[serde(default)]
    pub left: Option<Box<Left>>,
}

/// A merge, from intent to outcome. Landed ones stay as history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRecord {
    /// The project.
    pub project: ProjectName,
    /// Its number.
    pub id: MergeId,
    /// The attempt whose commit is merged.
    pub attempt: AttemptId,
    /// The attempt's commit.
    pub commit: CommitId,
    /// The expected head.
    pub onto: CommitId,
    /// The merge commit.
    pub candidate: CommitId,
    /// The outcome.
    pub state: MergeState,
    /// When it reached that state.
    pub at: Timestamp,
}

/// The outcome of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeState {
    /// The ref may or may not have moved; recovery finds out.
    Intended,
    /// Proven to be in the integration branch.
    Landed,
    /// The head moved first; the integration branch contains nothing of it.
    Lost,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// As last submitted.
    pub spec: ProjectSpec,
    /// Whether it is paused.
    pub paused: bool,
    /// The integration head that was proven last.
    pub head: Option<CommitId>,
    /// The head that was delivered to the source.
    pub delivered: Option<CommitId>,
    /// Why delivery waits: for a user, or for the resolution of a conflict with the source.
    pub delivery_blocked: Option<String>,
    /// Plans submitted so far.
    pub plans: u32,
    /// Merges started so far.
    pub merges: u64,
    /// Usage of its roles so far; roles that never reported usage and have no limit are left out.
    pub spent: Vec<Spent>,
}

/// The summed usage of a role's finished work attempts. Numbers are what agents claim; unknown is not 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The role.
    pub role: RoleName,
    /// Ended attempts, without those that a provider refused.
    pub attempts: u32,
    /// Ended attempts that reported no cost.
    pub unknown: u32,
    /// Tokens read.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Tokens read from the cache.
    pub cache_read_tokens: Option<u64>,
    /// Tokens read and written to the cache.
    pub cache_write_tokens: Option<u64>,
    /// Known costs, in millionths of a US dollar.
    pub cost_micros: Option<u64>,
    /// The cost of the most expensive attempt.
    pub dearest_micros: Option<u64>,
}

/// One submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The project.
    pub project: ProjectName,
    /// Counts from 1 in the project.
    pub number: u32,
    /// The first submission of the same plan file. A resubmission shares a task with an earlier plan and gets its
    /// family, so that devstack notices removed tasks.
    pub family: u32,
    /// Tasks it added.
    pub added: u32,
    /// Tasks it changed.
    pub updated: u32,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// When it was submitted.
    pub at: Timestamp,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name.
    pub host: HostName,
    /// Slots in its last report.
    pub slots: u32,
    /// Empty, and ignored. Up to version 2: the names of the secrets that it can resolve; see [`crate::offer`].
    pub secrets: Vec<String>,
    /// Unusable slots in its last report.
    pub quarantine: Option<Quarantine>,
}

/// What users want of a host, apart from the host's own reports. The record exists only while users want something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIntentRecord {
    /// Its name.
    pub host: HostName,
    /// The host gets no more attempts.
    pub drain: Option<Drain>,
    /// The limits of the host, whatever it claims; `None`: not set yet.
    #[serde(default)]
    pub pins: Option<Box<Pins>>,
}

/// Limits of a host's claims, and of what it may see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// The most concurrent attempts.
    pub max_slots: u32,
    /// Labels that it may claim.
    pub labels: BTreeMap<String, String>,
    /// Roles whose attempts it may get; empty: all.
    pub roles: Vec<RoleName>,
    /// Projects whose attempts it may get; empty: all.
    pub projects: Vec<ProjectName>,
    /// Names of secrets that it may claim.
    pub secrets: Vec<String>,
}

/// A host that is being drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Since when it drains.
    pub since: Timestamp,
    /// The deadline of its attempts, in milliseconds; a restart gives it in full again.
    pub deadline_ms: Option<u64>,
}

/// A provider of models that refused requests. The end of the parking is a wall-clock time and not a duration, because
/// the provider names it. A restart waits for the rest of it, and never longer than the first wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRecord {
    /// Its name, as in profiles.
    pub provider: Box<str>,
    /// Parked until then; `None`: it may be used, and has not served yet.
    pub until: Option<Timestamp>,
    /// The wait when it was parked, in milliseconds.
    pub after_ms: u64,
    /// The number of parkings in a row.
    pub times: u32,
    /// Its message.
    pub reason: Box<str>,
}

/// A record of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A project.
    Project(ProjectRecord),
    /// A submission.
    Plan(PlanRecord),
    /// A task.
    Task(Box<TaskRecord>),
    /// An attempt.
    Attempt(Box<AttemptRecord>),
    /// A merge.
    Merge(Box<MergeRecord>),
    /// A host.
    Host(HostRecord),
    /// A provider of models.
    Provider(ProviderRecord),
    /// What users want of a host.
    HostIntent(HostIntentRecord),
}

/// The key of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    /// A project.
    Project(ProjectName),
    /// A submission.
    Plan(ProjectName, u32),
    /// A task.
    Task(TaskRef),
    /// An attempt.
    Attempt(AttemptId),
    /// A merge.
    Merge(ProjectName, MergeId),
    /// A host.
    Host(HostName),
    /// A provider of models.
    Provider(Box<str>),
    /// What users want of a host.
    HostIntent(HostName),
}

impl Record {
    /// The key of this record.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Project(r) => RecordKey::Project(r.spec.name.clone()),
            Self::Plan(r) => RecordKey::Plan(r.project.clone(), r.number),
            Self::Task(r) => RecordKey::Task(TaskRef { project: r.project.clone(), id: r.spec.id.clone() }),
            Self::Attempt(r) => RecordKey::Attempt(r.attempt.clone()),
            Self::Merge(r) => RecordKey::Merge(r.project.clone(), r.id),
            Self::Host(r) => RecordKey::Host(r.host.clone()),
            Self::Provider(r) => RecordKey::Provider(r.provider.clone()),
            Self::HostIntent(r) => RecordKey::HostIntent(r.host.clone()),
        }
    }
}

impl Status {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 8] = [
        Self::Todo,
        Self::Wip,
        Self::Testing,
        Self::Review,
        Self::Approved,
        Self::Completed,
        Self::Blocked,
        Self::Rejected,
    ];

    /// Whether it is terminal: COMPLETED or REJECTED.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Rejected)
    }

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Todo => "TODO",
            Self::Wip => "WIP",
            Self::Testing => "TESTING",
            Self::Review => "REVIEW",
            Self::Approved => "APPROVED",
            Self::Completed => "COMPLETED",
            Self::Blocked => "BLOCKED",
            Self::Rejected => "REJECTED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl BlockedReason {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::DependencyRejected => "dependency-rejected",
            Self::NeedsHuman => "needs-human",
            Self::MergeCheckFailed => "merge-check-failed",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for BlockedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
