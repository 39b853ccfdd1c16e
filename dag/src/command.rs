//! The commands of the engine. Time and ids come in with the command. A refused command changed nothing.
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
    // ---- users --------------------------------------------------------------------------------
    /// Create or update a project and its tasks (upsert by task id).
    SubmitPlan {
        /// The plan, with all names resolved.
        plan: PlanSpec,
        /// The integration head, if the project has a repository: the hub exists before the plan is accepted.
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
    /// Stop the running attempt, uncharged.
    StopTask(TaskRef),
    /// Renew the attempt budget of a BLOCKED task, or skip a task's back-off.
    RetryTask {
        /// The task.
        task: TaskRef,
        /// A user's hint for the next prompt.
        message: Option<Text>,
    },
    /// Reject a task: it becomes REJECTED, its dependents BLOCKED.
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
    /// A user's result for a manual task or a conflict (`task resolve --from`), pinned in the hub as the next attempt's
    /// ref. Either the blocked or the resolution task may be named.
    ResolveTask {
        /// The task.
        task: TaskRef,
        /// The attempt number that [`crate::Engine::next_attempt`] returned for the pin.
        number: u32,
        /// The result; both sides of the conflict are its ancestors.
        commit: CommitId,
    },

    // ---- hosts --------------------------------------------------------------------------------
    /// A host is present (again) and sends its full state: its resources and all attempts that it observes.
    ReportHost(HostReport),
    /// The same from a machine that joined, which is held to its pins. If it has none yet, this command sets them: from
    /// what users set when it joined, and for the rest from its present claims.
    ReportMember {
        /// The host's report.
        report: HostReport,
        /// The pins that users set before the host joined.
        joined: PinChange,
    },
    /// Change a host's pins.
    SetHost {
        /// The host.
        host: HostName,
        /// The change.
        change: PinChange,
    },
    /// A host is silent: it gets no attempt, and its own attempts are UNKNOWN until it reports or is lost.
    SuspectHost(HostName),
    /// A host has been silent for this long. Its attempts whose patience has run out end as infrastructure failures,
    /// uncharged, and start elsewhere at once. When no attempt is left, the host is lost. [`crate::Engine::patience`]
    /// says when to ask next.
    LoseHost {
        /// The host.
        host: HostName,
        /// How long it has been silent, in milliseconds.
        silent_ms: u64,
    },
    /// Start no more attempts on a host. Running attempts finish, or are stopped after the deadline, uncharged.
    DrainHost {
        /// The host.
        host: HostName,
        /// Milliseconds until running attempts are stopped; `None`: no limit.
        deadline_ms: Option<u64>,
    },
    /// Start attempts on a drained host again.
    UndrainHost(HostName),
    /// Forget a host. A host that reports afterwards is a new one: to keep it out, stop its node first.
    RemoveHost {
        /// The host.
        host: HostName,
        /// Also when the host is present and not drained and empty: its attempts end as if the host was lost.
        force: bool,
    },
    /// An attempt has ended and its result is pinned.
    FinishAttempt {
        /// The reporting host. Its reports about attempts of other hosts are ignored.
        host: HostName,
        /// The report.
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
    /// The merge conflicts; no ref moved.
    MergeConflicted {
        /// The attempt whose commit was to be merged.
        attempt: AttemptId,
        /// Both sides and the conflicting paths.
        conflict: Conflict,
    },
    /// The result cannot be merged on any head (missing ancestors, conflict markers, a forbidden path).
    MergeRefused {
        /// The attempt.
        attempt: AttemptId,
        /// The reason, worded as in [`crate::attempt::Outcome::Policy`].
        reason: String,
    },
    /// The integration ref contains the merge: proof before status.
    MergeLanded {
        /// The merge.
        merge: MergeId,
        /// The project.
        project: ProjectName,
        /// The head that was proven to contain it.
        head: CommitId,
    },
    /// The integration ref moved before the swap and does not contain the merge.
    MergeLost {
        /// The merge.
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
    /// The source has all commits up to this head.
    Delivered {
        /// The project.
        project: ProjectName,
        /// The delivered head.
        head: CommitId,
    },
    /// Delivery waits for a user.
    DeliveryBlocked {
        /// The project.
        project: ProjectName,
        /// What blocks delivery, and what to do.
        reason: String,
    },

    /// The source has commits that the hub lacks, and merging them conflicts; no ref moved.
    SourceConflicted {
        /// The project.
        project: ProjectName,
        /// The integration head, the source's commit, and the conflicting paths.
        conflict: Conflict,
    },

    // ---- the shell ----------------------------------------------------------------------------
    /// A timer that an effect requested has fired.
    TimerFired(Timer),
    /// A job of the shell failed for a reason outside the task (I/O, a vanished hub). It is requested again after a
    /// back-off.
    JobFailed {
        /// The job.
        job: Job,
        /// The reason, for humans.
        reason: String,
    },
}

impl Command {
    /// The same report of an attempt's end, without its texts and leftovers, for a task whose record has no room for
    /// them. `None` for other commands: they contain nothing that can be left out.
    pub fn least(&self) -> Option<Self> {
        let Self::FinishAttempt { host, report } = self else { return None };
        let Report { attempt, outcome, commit, held, .. } = report;
        let report = Report { commit: *commit, held: held.clone(), ..Report::new(attempt.clone(), outcome.clone()) };
        Some(Self::FinishAttempt { host: host.clone(), report })
    }

    /// The host that sent the command, if one did.
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

/// The resources and observations of a host. Sent on every connection and after every change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Its name.
    pub host: HostName,
    /// Slots: the number of concurrent attempts.
    pub slots: u32,
    /// Names of the secrets it can resolve.
    #[serde(deserialize_with = "within::<bounds::SecretNames, _, _>")]
    pub secrets: Vec<String>,
    /// Every attempt that it holds, running or ended but not yet acknowledged.
    #[serde(deserialize_with = "within::<bounds::HeldAttempts, _, _>")]
    pub attempts: Vec<AttemptId>,
    /// Slots that are temporarily unusable.
    #[serde(deserialize_with = "within::<bounds::Reason, _, _>")]
    pub quarantine: Option<Quarantine>,
    /// Labels from its configuration, for roles that ask for them: `gpu = "a100"`.
    #[serde(deserialize_with = "within::<bounds::HostLabels, _, _>")]
    pub labels: BTreeMap<String, String>,
    /// The roles whose attempts it accepts; empty: all.
    #[serde(deserialize_with = "within::<bounds::HostRoles, _, _>")]
    pub roles: Vec<RoleName>,
    /// Images that it need not fetch first, by every name and digest, sorted. Excess entries are cut.
    #[serde(deserialize_with = "within::<bounds::HostImages, _, _>")]
    pub images: Vec<String>,
    /// The networks that its attempts are attached to.
    #[serde(deserialize_with = "within::<bounds::HostShards, _, _>")]
    pub shards: Vec<ShardReport>,
}

impl HostReport {
    /// A host with this many slots and nothing else.
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
    /// The most ports.
    pub capacity: u32,
}

/// Slots of a host that are unusable until it reports otherwise: its container engine is gone, a container does not
/// end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// How many.
    pub slots: u32,
    /// The reason, for humans.
    pub why: String,
}
