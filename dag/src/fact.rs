//! What happened: the bounded, numbered history that streams to readers. Facts alone rebuild the state.
//! Append-only: a variant is never inserted, removed or reordered (bincode numbers them).
//!
//! Facts carry what was decided, not what it was decided from: applying one never needs a rule, so the same facts
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

/// Something that happened, with the time it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: FactKind,
}

/// Where a task is after a step: everything the rules of charging and waiting decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The status.
    pub status: Status,
    /// Why it is BLOCKED, and in a sentence for people.
    pub blocked: Option<(BlockedReason, Box<str>)>,
    /// Why it is REJECTED, in a sentence for people.
    pub rejected: Option<Box<str>>,
    /// It waits this long before its next attempt, in milliseconds.
    pub backoff_ms: Option<u64>,
    /// Charged attempts since the budget was last renewed.
    pub charged: u32,
    /// Uncharged returns in a row.
    pub uncharged: u32,
    /// Returns for a provider's limit in a row.
    pub limited: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactKind {
    /// A project was created or its description changed.
    ProjectDescribed {
        /// Its description.
        spec: ProjectSpec,
        /// The integration head, with a repository; used when the project is created.
        head: Option<CommitId>,
    },
    /// Tasks were added by a plan. Split so that a fact stays within 16 KiB; [`FactKind::PlanSubmitted`] closes them.
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
        /// What it says now.
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
    /// Every unfinished task of a plan was given up; the tasks say so one by one.
    PlanCancelled {
        /// The project.
        project: ProjectName,
        /// The plan's number.
        plan: u32,
    },
    /// A project starts no more attempts, or starts them again.
    ProjectPaused {
        /// The project.
        project: ProjectName,
        /// Paused now?
        paused: bool,
    },
    /// A host is there with this room.
    HostReported {
        /// The host.
        host: HostName,
        /// Room for so many attempts.
        slots: u32,
        /// Empty. Up to version 2 the names of the secrets it can resolve; see [`crate::offer`].
        secrets: Vec<String>,
    },
    /// A host was silent for too long; it is known still, and may return.
    HostLost {
        /// The host.
        host: HostName,
    },
    /// An attempt was ordered.
    AttemptStarted {
        /// Which.
        attempt: AttemptId,
        /// What for.
        stage: Stage,
        /// Where.
        host: HostName,
        /// By whom.
        agent: AgentName,
        /// In which role.
        role: RoleName,
        /// What its workspace holds.
        start: Start,
        /// The image, resolved at submission, where the runtime has images.
        image: Option<Arc<str>>,
    },
    /// A person asked for the end of an attempt.
    AttemptStopping {
        /// Which.
        attempt: AttemptId,
    },
    /// An attempt is over.
    AttemptEnded {
        /// Which.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
        /// Charged to the task?
        charged: bool,
        /// Its harvested commit.
        commit: Option<CommitId>,
        /// Model usage.
        usage: Option<Usage>,
    },
    /// A person handed in a result; it counts as an attempt that exited 0.
    ResultGiven {
        /// The attempt it counts as.
        attempt: AttemptId,
        /// What it was made from.
        start: Start,
        /// The result.
        commit: CommitId,
    },
    /// A task is somewhere else now.
    TaskMoved {
        /// Which.
        task: TaskRef,
        /// Where.
        place: Place,
    },
    /// The next attempt is told this.
    FeedbackGiven {
        /// The task.
        task: TaskRef,
        /// What, oldest first.
        feedback: Vec<Feedback>,
    },
    /// The next attempt starts from the integration head: earlier results are kept, not continued.
    WorkDropped {
        /// The task.
        task: TaskRef,
    },
    /// A task is done by someone else now.
    ExecutorChanged {
        /// The task.
        task: TaskRef,
        /// By whom.
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
        /// Which merge.
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
        /// Which merge.
        merge: MergeId,
        /// The head that contains it.
        head: CommitId,
    },
    /// The head had moved first; the task stays at the front of the queue.
    MergeAbandoned {
        /// The project.
        project: ProjectName,
        /// Which merge.
        merge: MergeId,
        /// The head as found.
        head: CommitId,
    },
    /// The integration branch moved without a merge of ours.
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
        /// The material.
        conflict: Box<Conflict>,
    },
    /// A task is proven done; its dependents are freed.
    TaskCompleted {
        /// Which.
        task: TaskRef,
        /// The merge commit; `None`: no repository, or nothing to merge.
        merge_commit: Option<CommitId>,
        /// The resolution task that completed it.
        resolved_by: Option<TaskId>,
    },
    /// The source has everything up to this head.
    Delivered {
        /// The project.
        project: ProjectName,
        /// The head.
        head: CommitId,
    },
    /// Delivery waits: for a person, or for the resolution of a conflict with the source.
    DeliveryBlocked {
        /// The project.
        project: ProjectName,
        /// What is in the way.
        reason: String,
    },
    /// A job failed for a reason outside the task; it is asked again later. Kept in memory only: a restart asks at once.
    JobDelayed {
        /// What had been asked.
        job: Job,
        /// Why it failed.
        reason: String,
        /// Milliseconds until it is asked again.
        after_ms: u64,
    },
    /// A delayed job was asked again.
    JobRepeated {
        /// Which.
        job: Job,
    },
    /// The source has commits that conflict with the integration branch: this resolution task exists, and delivery
    /// waits for it (its own fact).
    SourceConflicted {
        /// The project.
        project: ProjectName,
        /// The resolution task.
        resolution: Arc<TaskSpec>,
        /// The material.
        conflict: Box<Conflict>,
    },
    /// Slots of a host cannot be used for now, or can be again.
    HostQuarantined {
        /// The host.
        host: HostName,
        /// Which and why; `None`: it is over.
        quarantine: Option<Quarantine>,
    },
    /// A provider wants no more for now: no attempt of any role that it serves is started before.
    ProviderParked {
        /// Which.
        provider: Box<str>,
        /// Until when.
        until: Timestamp,
        /// Milliseconds from now.
        after_ms: u64,
        /// How often in a row.
        times: u32,
        /// What it said, for people.
        reason: Box<str>,
    },
    /// A parked provider may be asked again.
    ProviderResumed {
        /// Which.
        provider: Box<str>,
    },
    /// A provider that had been parked served an attempt.
    ProviderServed {
        /// Which.
        provider: Box<str>,
    },
    /// A host is silent. Presence is kept in memory only: after a restart nobody is present who did not report.
    HostSuspected {
        /// The host.
        host: HostName,
    },
    /// A host reports, for the first time or again.
    HostReturned {
        /// The host.
        host: HostName,
    },
    /// A host gets no more attempts.
    HostDrained {
        /// The host.
        host: HostName,
        /// Milliseconds until those that run are stopped; `None`: they finish.
        deadline_ms: Option<u64>,
    },
    /// A drained host gets attempts again.
    HostUndrained {
        /// The host.
        host: HostName,
    },
    /// A host is forgotten.
    HostRemoved {
        /// The host.
        host: HostName,
    },
    /// What an attempt left besides its result, and what its agent says that it did.
    AttemptLeft {
        /// Which.
        attempt: AttemptId,
        /// What it left.
        left: Left,
        /// What its agent says.
        summary: Option<Text>,
    },
    /// A person must look at a task's result before it is merged, or need not any more.
    TaskHeld {
        /// Which.
        task: TaskRef,
        /// Why; `None`: no more.
        why: Option<Box<str>>,
    },
    /// A host is held to these limits, or to none.
    HostPinned {
        /// The host.
        host: HostName,
        /// The limits.
        pins: Option<Box<Pins>>,
    },
}
