//! What may be asked of the engine. Time and ids come in with the command; a command that is
//! refused changed nothing.
//! Deliberately absent: who asks (the gateway checks that) and how the answer travels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    attempt::{Conflict, Report},
    bounds::{self, within},
    effect::Timer,
    ids::{AttemptId, CommitId, HostName, MergeId, ProjectName, RoleName, TaskRef, Text},
    pins::PinChange,
    plan::PlanSpec,
};

/// A request to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    // ---- people -------------------------------------------------------------------------------
    /// Add or bring up to date a project and its tasks (upsert by task id).
    SubmitPlan {
        /// The plan, resolved.
        plan: PlanSpec,
        /// The integration head, when the project has a repository: the hub exists before the plan is accepted.
        head: Option<CommitId>,
    },
    /// Reject every unfinished task of a project (or of one plan of it) and end its attempts.
    CancelPlan {
        /// The project.
        project: ProjectName,
        /// Only this plan; `None`: all.
        plan: Option<u32>,
    },
    /// Start no more attempts in a project.
    PauseProject(ProjectName),
    /// Start attempts again.
    ResumeProject(ProjectName),
    /// End the running attempt, uncharged.
    StopTask(TaskRef),
    /// A new budget of attempts for a BLOCKED task, or no more waiting for one in a backoff.
    RetryTask {
        /// The task.
        task: TaskRef,
        /// A person's hint for the next prompt.
        message: Option<Text>,
    },
    /// Give a task up: REJECTED, its dependents BLOCKED.
    RejectTask {
        /// The task.
        task: TaskRef,
        /// Why.
        reason: String,
    },
    /// REVIEW → APPROVED.
    ApproveTask(TaskRef),
    /// REVIEW → TODO with feedback.
    RequestChanges {
        /// The task.
        task: TaskRef,
        /// What to change.
        message: Text,
    },
    /// A person's result for a task that waits for a human (`task resolve --from`): pinned in the hub as the
    /// next attempt's ref. Either the blocked or the resolution task may be named.
    ResolveTask {
        /// The task.
        task: TaskRef,
        /// The attempt number that [`crate::Engine::next_attempt`] gave for the pin.
        number: u32,
        /// The result; both sides of the conflict are its ancestors.
        commit: CommitId,
    },

    // ---- hosts --------------------------------------------------------------------------------
    /// A host is there (again), with what it has and everything it observes. The full state, always.
    ReportHost(HostReport),
    /// The same, of a machine that joined: it is held to its pins. If it has none yet, this gives it some: what people said
    /// when it joined, and for the rest what it claims now.
    ReportMember {
        /// What it says.
        report: HostReport,
        /// What people said of it before it came.
        joined: PinChange,
    },
    /// What a host is held to.
    SetHost {
        /// Which.
        host: HostName,
        /// What becomes different.
        change: PinChange,
    },
    /// A host is silent: it gets no attempt, and its own are UNKNOWN until it reports or is lost.
    SuspectHost(HostName),
    /// A host was silent for so long: those of its attempts that are not waited for any longer end as infrastructure
    /// failures, uncharged, and start elsewhere at once. When none is left, it is lost. [`crate::Engine::patience`] says
    /// when to ask next.
    LoseHost {
        /// Which.
        host: HostName,
        /// How long nothing was heard of it, in milliseconds.
        silent_ms: u64,
    },
    /// Start no more attempts on a host; those that run finish, or are stopped after the deadline, uncharged.
    DrainHost {
        /// Which.
        host: HostName,
        /// Milliseconds that its attempts have; `None`: as long as they take.
        deadline_ms: Option<u64>,
    },
    /// Start attempts on a drained host again.
    UndrainHost(HostName),
    /// Forget a host. One that reports afterwards is a new one: whoever wants it kept out stops its node first.
    RemoveHost {
        /// Which.
        host: HostName,
        /// Also while it is there and not drained and empty: its attempts end as if it was lost.
        force: bool,
    },
    /// An attempt is over and its result is pinned.
    FinishAttempt {
        /// Who says so. About an attempt of another host it has nothing to say.
        host: HostName,
        /// How it went.
        report: Report,
    },

    // ---- DevOps -------------------------------------------------------------------------------
    /// The merge of a task's commit was prepared: objects durable, no ref moved.
    MergePrepared {
        /// The attempt whose commit was merged.
        attempt: AttemptId,
        /// The integration head it was prepared on.
        onto: CommitId,
        /// The prepared merge commit.
        candidate: CommitId,
    },
    /// The merge conflicts; nothing moved.
    MergeConflicted {
        /// The attempt whose commit was to be merged.
        attempt: AttemptId,
        /// Both sides and where they clash.
        conflict: Conflict,
    },
    /// The result cannot be merged whatever the head is (missing ancestors, markers left, a forbidden path).
    MergeRefused {
        /// The attempt.
        attempt: AttemptId,
        /// As [`crate::attempt::Outcome::Policy`] would say it.
        reason: String,
    },
    /// The integration ref contains the merge: proof before status.
    MergeLanded {
        /// Which merge.
        merge: MergeId,
        /// The project.
        project: ProjectName,
        /// The head that was proven to contain it.
        head: CommitId,
    },
    /// The integration ref had moved before the swap, and does not contain the merge.
    MergeLost {
        /// Which merge.
        merge: MergeId,
        /// The project.
        project: ProjectName,
        /// The head as found.
        head: CommitId,
    },
    /// The integration branch moved by a sync merge from the source.
    HeadMoved {
        /// The project.
        project: ProjectName,
        /// The new head.
        head: CommitId,
    },
    /// The source has everything up to this head.
    Delivered {
        /// The project.
        project: ProjectName,
        /// The delivered head.
        head: CommitId,
    },
    /// Delivery waits for a person.
    DeliveryBlocked {
        /// The project.
        project: ProjectName,
        /// What is in the way and what to do.
        reason: String,
    },

    /// The source has commits that the hub has not, and merging them conflicts; nothing moved.
    SourceConflicted {
        /// The project.
        project: ProjectName,
        /// The integration head, the source's commit, and where they clash.
        conflict: Conflict,
    },

    // ---- the shell ----------------------------------------------------------------------------
    /// A timer that an effect asked for has run out.
    TimerFired(Timer),
    /// A job of the shell failed for a reason outside the task (I/O, a vanished hub): it is asked again after a backoff.
    JobFailed {
        /// What had been asked.
        job: Job,
        /// Why, for people.
        reason: String,
    },
}

impl Command {
    /// The same of an attempt's end without what was said and left in it, for a task whose record has no room for that;
    /// `None`: of other commands nothing can be left out.
    pub fn least(&self) -> Option<Self> {
        let Self::FinishAttempt { host, report } = self else { return None };
        let Report { attempt, outcome, commit, held, .. } = report;
        let report = Report { commit: *commit, held: held.clone(), ..Report::new(attempt.clone(), outcome.clone()) };
        Some(Self::FinishAttempt { host: host.clone(), report })
    }

    /// The host that says it, if one does.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::ReportHost(report) | Self::ReportMember { report, .. } => Some(&report.host),
            Self::FinishAttempt { host, .. } => Some(host),
            _ => None,
        }
    }
}

/// A job of the shell that can fail for reasons outside the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Job {
    /// [`crate::effect::Effect::PrepareMerge`] of this attempt.
    Prepare(AttemptId),
    /// [`crate::effect::Effect::PublishMerge`].
    Publish(ProjectName, MergeId),
    /// [`crate::effect::Effect::Deliver`].
    Deliver(ProjectName),
}

/// What a host has and sees. Sent on every connection and whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Its name.
    pub host: HostName,
    /// Room for so many attempts at once.
    pub slots: u32,
    /// Names of the secrets it can resolve.
    #[serde(deserialize_with = "within::<bounds::SecretNames, _, _>")]
    pub secrets: Vec<String>,
    /// Every attempt it holds, running or finished but not yet acknowledged.
    #[serde(deserialize_with = "within::<bounds::HeldAttempts, _, _>")]
    pub attempts: Vec<AttemptId>,
    /// Slots that cannot be used for now.
    #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
    pub quarantine: Option<Quarantine>,
    /// What its configuration says of it, for roles that ask for it: `gpu = "a100"`.
    #[serde(deserialize_with = "within::<bounds::HostLabels, _, _>")]
    pub labels: BTreeMap<String, String>,
    /// The roles whose attempts it takes; empty: all.
    #[serde(deserialize_with = "within::<bounds::HostRoles, _, _>")]
    pub roles: Vec<RoleName>,
    /// Images that need not be fetched first, by every name and digest, sorted. What is too many of them is cut.
    #[serde(deserialize_with = "within::<bounds::HostImages, _, _>")]
    pub images: Vec<String>,
    /// The networks that its attempts are attached to.
    #[serde(deserialize_with = "within::<bounds::HostShards, _, _>")]
    pub shards: Vec<ShardReport>,
}

impl HostReport {
    /// Of a host that has so many slots and nothing else.
    pub fn new(host: HostName, slots: u32) -> Self {
        Self {
            host,
            slots,
            secrets: Vec::new(),
            attempts: Vec::new(),
            quarantine: None,
            labels: BTreeMap::new(),
            roles: Vec::new(),
            images: Vec::new(),
            shards: Vec::new(),
        }
    }
}

/// One of a host's networks for attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardReport {
    /// Its name on that host.
    pub name: String,
    /// Its addresses, as `10.200.0.0/24`.
    pub subnet: String,
    /// Ports in use: attempts attached to it.
    pub ports: u32,
    /// The most there may be.
    pub capacity: u32,
}

/// Slots of a host that cannot be used until it says otherwise: its container engine is gone, a container does not end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// How many.
    pub slots: u32,
    /// Why, for people.
    pub why: String,
}
