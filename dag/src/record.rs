//! The truth at open: what the store keeps of a project, plan, task, attempt, merge and host.
//! Facts are history; records are state. Durations are stored, due times never are: a restart gives a full
//! backoff again, so a stepped wall clock can make nothing early or late.
//! Deliberately absent: encoding (the store's door) and derived state (ready set, agents in use).

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
    /// Waits for dependencies, a slot, a backoff, or a person (executor human).
    Todo,
    /// An attempt works.
    Wip,
    /// The project's checks run.
    Testing,
    /// A person decides.
    Review,
    /// In the merge queue.
    Approved,
    /// Proven done.
    Completed,
    /// Waits for a person or a resolution; never terminal.
    Blocked,
    /// Given up; terminal.
    Rejected,
}

/// Why a task is BLOCKED (stable words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BlockedReason {
    /// Its commit conflicts with the integration branch; a resolution task exists.
    Conflict,
    /// Charged attempts are used up.
    AttemptsExhausted,
    /// A dependency was rejected.
    DependencyRejected,
    /// Too many uncharged returns in a row, or something only a person can do.
    NeedsHuman,
    /// Attempts used up, the last on checks of the merged tree.
    MergeCheckFailed,
    /// The result has a secret or a forbidden path.
    Policy,
}

/// What kind of task. Append-only, as everything that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Submitted by a person.
    Work,
    /// Created by a conflict.
    Resolve {
        /// The blocked task.
        resolves: TaskId,
        /// The material.
        conflict: Box<Conflict>,
    },
    /// Created because the source has commits that conflict with the hub's. It blocks no task: delivery waits for it.
    Sync {
        /// The material; `theirs` is the source's commit.
        conflict: Box<Conflict>,
    },
}

impl Kind {
    /// What is to be brought together; `None`: work.
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Work => None,
            Self::Resolve { conflict, .. } | Self::Sync { conflict } => Some(conflict),
        }
    }

    /// The blocked task that it frees, if it blocks one.
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
    /// Counts from 0 over all projects, in the order of submission, without gaps: the age of a task.
    pub seq: u32,
    /// As submitted.
    pub spec: Arc<TaskSpec>,
    /// Work or resolve.
    pub kind: Kind,
    /// The plan that brought it.
    pub plan: u32,
    /// The status.
    pub status: Status,
    /// Why it is BLOCKED, and in a sentence for people.
    pub blocked: Option<(BlockedReason, Box<str>)>,
    /// Why it is REJECTED: a person's reason, `cancelled` or `superseded`.
    pub rejected: Option<Box<str>>,
    /// Attempts started, over all stages; the newest is the valid one.
    pub attempts: u32,
    /// Charged attempts since the budget was last renewed.
    pub charged: u32,
    /// Uncharged returns in a row, in the units of `Config::returns_cap`.
    pub uncharged: u32,
    /// Returns for a provider's limit in a row.
    pub limited: u32,
    /// It waits this long before the next attempt, in milliseconds.
    pub backoff_ms: Option<u64>,
    /// The newest work attempt with a harvested commit, and that commit.
    pub harvested: Option<(u32, CommitId)>,
    /// The agent that made it; `feat/<agent>`.
    pub agent: Option<AgentName>,
    /// The prepared merge whose checks run or passed: the head it was prepared on and the merge commit.
    pub candidate: Option<(CommitId, CommitId)>,
    /// When it entered the merge queue; kept while the checks run again on a newer head, so that nobody reviews twice.
    pub approved_at: Option<Timestamp>,
    /// The merge in flight, between intent and outcome: retry and reject are refused.
    pub merging: Option<MergeId>,
    /// The merge commit that completed it.
    pub merge_commit: Option<CommitId>,
    /// The resolution task that completed it.
    pub resolved_by: Option<TaskId>,
    /// What earlier attempts and people said; the newest last, bounded by `Config::feedback_kept` and `feedback_bytes`.
    pub feedback: Vec<Feedback>,
    /// When the source got it.
    pub delivered_at: Option<Timestamp>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When anything last changed.
    pub updated_at: Timestamp,
    /// Why a person must look at its result before it is merged.
    #[serde(default)]
    pub held: Option<Box<str>>,
    /// What the agent of its newest result says that it did; an agent's claim.
    #[serde(default)]
    pub summary: Option<Text>,
    /// Work attempts that stalled and were not charged, since the budget was last renewed.
    #[serde(default)]
    pub stalls: u32,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Which.
    pub attempt: AttemptId,
    /// What for.
    pub stage: Stage,
    /// Where.
    pub host: HostName,
    /// By whom.
    pub agent: AgentName,
    /// In which role.
    pub role: RoleName,
    /// What its workspace held.
    pub start: Start,
    /// The image it ran in, resolved at submission; `None`: the runtime has no images.
    pub image: Option<Arc<str>>,
    /// Was its end asked for? Then a failure counts as [`Outcome::Stopped`].
    pub stopping: bool,
    /// How it ended; `None`: it runs.
    pub outcome: Option<Outcome>,
    /// Was it charged to the task?
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
    /// How it went.
    pub state: MergeState,
    /// When that became so.
    pub at: Timestamp,
}

/// How a merge went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MergeState {
    /// The ref may or may not have moved; recovery finds out.
    Intended,
    /// Proven to be in the integration branch.
    Landed,
    /// The head had moved first; nothing of it is in the integration branch.
    Lost,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// As last submitted.
    pub spec: ProjectSpec,
    /// Starts no attempts.
    pub paused: bool,
    /// The integration head, as proven last.
    pub head: Option<CommitId>,
    /// The head that the source has.
    pub delivered: Option<CommitId>,
    /// Why delivery waits: for a person, or for the resolution of a conflict with the source.
    pub delivery_blocked: Option<String>,
    /// Plans submitted so far.
    pub plans: u32,
    /// Merges intended so far.
    pub merges: u64,
    /// What its roles used so far, by role; those that never said and have no limit are left out.
    pub spent: Vec<Spent>,
}

/// What the finished work attempts of a role used, summed. Numbers are what agents claim; unknown is not 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The role.
    pub role: RoleName,
    /// Attempts that ended, but for those that a provider sent back.
    pub attempts: u32,
    /// Those of them that did not say what they cost.
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
    /// The dearest attempt.
    pub dearest_micros: Option<u64>,
}

/// One submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The project.
    pub project: ProjectName,
    /// Counts from 1 in the project.
    pub number: u32,
    /// The first of the submissions of one plan file: a resubmission shares a task with an earlier plan and has its
    /// family, so that a task missing from it is known to be removed.
    pub family: u32,
    /// Tasks it added.
    pub added: u32,
    /// Tasks it changed.
    pub updated: u32,
    /// Was it cancelled?
    pub cancelled: bool,
    /// When it came.
    pub at: Timestamp,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name.
    pub host: HostName,
    /// Slots it offered last.
    pub slots: u32,
    /// Empty, and not looked at. Up to version 2 the names of the secrets it can resolve; see [`crate::offer`].
    pub secrets: Vec<String>,
    /// Slots that it could not use last.
    pub quarantine: Option<Quarantine>,
}

/// What people want of a host, apart from what it says of itself. There is a record only while they want something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIntentRecord {
    /// Its name.
    pub host: HostName,
    /// It gets no more attempts.
    pub drain: Option<Drain>,
    /// What it is held to, whatever it claims; `None`: nothing was said yet.
    #[serde(default)]
    pub pins: Option<Box<Pins>>,
}

/// What a host may be and see, whatever it claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// Attempts at once, at most.
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

/// A host that is being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Since when.
    pub since: Timestamp,
    /// How long its attempts have, in milliseconds; a restart gives it in full again.
    pub deadline_ms: Option<u64>,
}

/// A provider of models that wanted no more. Until when it is parked is a time of day and not a duration, because the
/// provider names it; a restart waits for what is left of it, and never longer than it was to wait at first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRecord {
    /// Its name, as profiles give it.
    pub provider: Box<str>,
    /// Parked until then; `None`: it may be asked, and did not serve yet.
    pub until: Option<Timestamp>,
    /// How long it was to wait when it was parked, in milliseconds.
    pub after_ms: u64,
    /// How often in a row it was parked.
    pub times: u32,
    /// What it said.
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
    /// What people want of a host.
    HostIntent(HostIntentRecord),
}

/// Which record.
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
    /// What people want of a host.
    HostIntent(HostName),
}

impl Record {
    /// The key under which it is kept.
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
    /// Over for good: COMPLETED or REJECTED.
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
