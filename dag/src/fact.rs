//! What happened: the bounded, numbered history that streams to readers. Replaying all facts rebuilds the state.
//! Append-only: a variant is never inserted, removed or reordered (bincode numbers them).
//!
//! Facts carry what was decided, not the inputs of the decision. Applying a fact never needs a rule, so the same facts
//! give the same state in every version of the rules.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    attempt::{Conflict, Feedback, Left, Outcome, Stage, Start, Usage},
    command::Job,
    command::Quarantine,
    ids::{AgentName, AttemptId, CommitId, HostName, MergeId, ProjectName, RoleName, TaskId, TaskRef, Text, Timestamp},
    plan::{Executor, ProjectSpec, TaskSpec},
    record::{BlockedReason, Pins, Status},
};

/// Something that happened, with the time of its decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub kind: FactKind,
}

/// A task's position after a step: everything that the rules of charging and waiting decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The status.
    pub status: Status,
    /// Why it is BLOCKED: the reason, and a sentence for humans.
    pub blocked: Option<(BlockedReason, Box<str>)>,
    /// Why it is REJECTED, as a sentence for humans.
    pub rejected: Option<Box<str>>,
    /// The back-off before its next attempt, in milliseconds.
    pub backoff_ms: Option<u64>,
    /// Charged attempts since the budget was last renewed.
    pub charged: u32,
    /// Uncharged returns in a row.
    pub uncharged: u32,
    /// Returns in a row because of a provider's limit.
    pub limited: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactKind {
    /// A project was created or its description changed.
    ProjectDescribed {
        /// Its description.
        spec: ProjectSpec,
        /// The integration head, for a project with a repository; used when the project is created.
        head: Option<CommitId>,
    },
    /// A plan added tasks. Split so that a fact stays within 16 KiB; [`FactKind::PlanSubmitted`] closes the list.
    TasksAdded {
        /// The project.
        project: ProjectName,
        /// The plan's number.
        plan: u32,
        /// The tasks.
        tasks: Vec<Arc<TaskSpec>>,
    },
    /// A plan changed a task that had not started or was BLOCKED.
    TaskUpdated {
        /// The project.
        project: ProjectName,
        /// Its new description.
        spec: Arc<TaskSpec>,
    },
    /// A plan is complete: its tasks are linked to their dependencies.
    PlanSubmitted {
        /// The project.
        project: ProjectName,
        /// Counts from 1 in the project.
        plan: u32,
        /// See [`crate::record::PlanRecord::family`].
        family: u32,
        /// Tasks added.
        added: u32,
        /// Tasks changed.
        updated: u32,
    },
    /// Every unfinished task of a plan was rejected; facts for the individual tasks say so.
    PlanCancelled {
        /// The project.
        project: ProjectName,
        /// The plan's number.
        plan: u32,
    },
    /// A project was paused or resumed.
    ProjectPaused {
        /// The project.
        project: ProjectName,
        /// Whether it is paused now.
        paused: bool,
    },
    /// A host offers slots.
    HostReported {
        /// The host.
        host: HostName,
        /// The number of slots.
        slots: u32,
        /// Empty. Up to version 2: the names of the secrets that it can resolve; see [`crate::offer`].
        secrets: Vec<String>,
    },
    /// A host was silent for too long. It stays known, and may return.
    HostLost {
        /// The host.
        host: HostName,
    },
    /// An attempt was ordered.
    AttemptStarted {
        /// The attempt.
        attempt: AttemptId,
        /// Its stage.
        stage: Stage,
        /// The host.
        host: HostName,
        /// The agent.
        agent: AgentName,
        /// The role.
        role: RoleName,
        /// The content of its workspace.
        start: Start,
        /// The image, resolved at submission, where the runtime has images.
        image: Option<Arc<str>>,
    },
    /// A user asked to stop an attempt.
    AttemptStopping {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An attempt has ended.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: Outcome,
        /// Whether it is charged to the task.
        charged: bool,
        /// Its harvested commit.
        commit: Option<CommitId>,
        /// Model usage.
        usage: Option<Usage>,
    },
    /// A user submitted a result; it counts as an attempt that exited 0.
    ResultGiven {
        /// The attempt it counts as.
        attempt: AttemptId,
        /// The commits that it was made from.
        start: Start,
        /// The result.
        commit: CommitId,
    },
    /// A task changed its position.
    TaskMoved {
        /// The task.
        task: TaskRef,
        /// The new position.
        place: Place,
    },
    /// Feedback for the next attempt.
    FeedbackGiven {
        /// The task.
        task: TaskRef,
        /// The entries, oldest first.
        feedback: Vec<Feedback>,
    },
    /// The next attempt starts from the integration head: earlier results are kept, but not continued.
    WorkDropped {
        /// The task.
        task: TaskRef,
    },
    /// A task has another executor now.
    ExecutorChanged {
        /// The task.
        task: TaskRef,
        /// The new executor.
        executor: Executor,
    },
    /// DevOps was asked to prepare the merge of an attempt's commit.
    MergeRequested {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A merge was prepared; no ref moved.
    MergePrepared {
        /// The attempt.
        attempt: AttemptId,
        /// The head it was prepared on.
        onto: CommitId,
        /// The merge commit.
        candidate: CommitId,
    },
    /// The integration ref is about to move. From here to `MergeLanded` or `MergeAbandoned` the task is `merging`.
    MergeIntended {
        /// The project.
        project: ProjectName,
        /// The merge.
        merge: MergeId,
        /// The attempt.
        attempt: AttemptId,
        /// Its commit.
        commit: CommitId,
        /// The expected head.
        onto: CommitId,
        /// The merge commit.
        candidate: CommitId,
    },
    /// The integration branch contains the merge.
    MergeLanded {
        /// The project.
        project: ProjectName,
        /// The merge.
        merge: MergeId,
        /// The head that contains it.
        head: CommitId,
    },
    /// The head moved first; the task stays at the front of the queue.
    MergeAbandoned {
        /// The project.
        project: ProjectName,
        /// The merge.
        merge: MergeId,
        /// The head as found.
        head: CommitId,
    },
    /// The integration branch moved without a merge of devstack.
    HeadMoved {
        /// The project.
        project: ProjectName,
        /// The new head.
        head: CommitId,
    },
    /// A commit conflicts: the task is BLOCKED (its own fact) and this resolution task exists.
    ConflictFound {
        /// The blocked task.
        task: TaskRef,
        /// The resolution task.
        resolution: Arc<TaskSpec>,
        /// The conflict.
        conflict: Box<Conflict>,
    },
    /// A task is proven done; its dependents are unblocked.
    TaskCompleted {
        /// The task.
        task: TaskRef,
        /// The merge commit; `None`: no repository, or nothing to merge.
        merge_commit: Option<CommitId>,
        /// The resolution task that completed it.
        resolved_by: Option<TaskId>,
    },
    /// The source has all commits up to this head.
    Delivered {
        /// The project.
        project: ProjectName,
        /// The head.
        head: CommitId,
    },
    /// Delivery waits: for a user, or for the resolution of a conflict with the source.
    DeliveryBlocked {
        /// The project.
        project: ProjectName,
        /// What blocks it.
        reason: String,
    },
    /// A job failed for a reason outside the task and is requested again later. In memory only: a restart requests it
    /// at once.
    JobDelayed {
        /// The job.
        job: Job,
        /// Why it failed.
        reason: String,
        /// Milliseconds until the next request.
        after_ms: u64,
    },
    /// A delayed job was requested again.
    JobRepeated {
        /// The job.
        job: Job,
    },
    /// The source has commits that conflict with the integration branch: this resolution task exists, and delivery
    /// waits for it (its own fact).
    SourceConflicted {
        /// The project.
        project: ProjectName,
        /// The resolution task.
        resolution: Arc<TaskSpec>,
        /// The conflict.
        conflict: Box<Conflict>,
    },
    /// Slots of a host became unusable, or usable again.
    HostQuarantined {
        /// The host.
        host: HostName,
        /// The slots and the reason; `None`: all slots are usable again.
        quarantine: Option<Quarantine>,
    },
    /// A provider refuses requests for now: no attempt of any role that uses it starts until then.
    ProviderParked {
        /// The provider.
        provider: Box<str>,
        /// Until when.
        until: Timestamp,
        /// The wait in milliseconds.
        after_ms: u64,
        /// The number of refusals in a row.
        times: u32,
        /// The provider's message, for humans.
        reason: Box<str>,
    },
    /// A parked provider may be used again.
    ProviderResumed {
        /// The provider.
        provider: Box<str>,
    },
    /// A provider that was parked served an attempt.
    ProviderServed {
        /// The provider.
        provider: Box<str>,
    },
    /// A host is silent. Presence is in memory only: after a restart no host is present until it reports.
    HostSuspected {
        /// The host.
        host: HostName,
    },
    /// A host reports, for the first time or again.
    HostReturned {
        /// The host.
        host: HostName,
    },
    /// A host was drained: it gets no more attempts.
    HostDrained {
        /// The host.
        host: HostName,
        /// Milliseconds until running attempts are stopped; `None`: they finish.
        deadline_ms: Option<u64>,
    },
    /// A host was undrained: it gets attempts again.
    HostUndrained {
        /// The host.
        host: HostName,
    },
    /// A host was removed.
    HostRemoved {
        /// The host.
        host: HostName,
    },
    /// What an attempt left besides its result, and what its agent says it did.
    AttemptLeft {
        /// The attempt.
        attempt: AttemptId,
        /// The leftovers.
        left: Left,
        /// The agent's summary.
        summary: Option<Text>,
    },
    /// A human must review a task's result before it is merged, or need not any more.
    TaskHeld {
        /// The task.
        task: TaskRef,
        /// The reason; `None`: no review is needed any more.
        why: Option<Box<str>>,
    },
    /// The pins of a host changed.
    HostPinned {
        /// The host.
        host: HostName,
        /// The pins; `None`: none.
        pins: Option<Box<Pins>>,
    },
}
