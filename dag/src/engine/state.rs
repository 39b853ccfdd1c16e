//! The engine's state in memory: tasks, projects, classes (roles of projects) and hosts, with small indices.
//! Deliberately absent: rules. Derived fields are marked as such; `invariants` checks that they agree.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::returns::End;
use crate::{
    attempt::{Conflict, Feedback, Stage},
    command::Quarantine,
    ids::{AgentName, AttemptId, CommitId, HostName, MergeId, ProjectName, RoleName, TaskId, TaskRef, Text, Timestamp},
    offer::Offer,
    placement::Needs,
    plan::{Executor, Priority, RoleSpec, TaskSpec},
    presence::Presence,
    profile::Profile,
    ready::{Key, Ready},
    record::{
        AttemptRecord, BlockedReason, Drain, HostIntentRecord, HostRecord, Kind, MergeRecord, Pins, PlanRecord,
        ProjectRecord, Status,
    },
    room::{Fits, HostIx},
};

/// Index of a task: its `seq`.
pub(crate) type TaskIx = u32;
/// Index of a project, in memory only.
pub(crate) type ProjectIx = u32;
/// Index of a class, in memory only.
pub(crate) type ClassIx = u32;

/// A task. Small: a plan may have a hundred thousand.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) kind: Kind,
    pub(crate) project: ProjectIx,
    pub(crate) plan: u32,
    pub(crate) status: Status,
    pub(crate) blocked: Option<Box<(BlockedReason, Box<str>)>>,
    pub(crate) rejected: Option<Box<str>>,
    pub(crate) attempts: u32,
    pub(crate) charged: u32,
    pub(crate) uncharged: u32,
    pub(crate) limited: u32,
    pub(crate) stalls: u32,
    pub(crate) held: Option<Box<str>>,
    pub(crate) summary: Option<Box<Text>>,
    pub(crate) backoff_ms: Option<u64>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) feedback: Vec<Feedback>,
    /// Set once the task has a result or a conflict.
    pub(crate) git: Option<Box<Git>>,
    /// The newest attempts, oldest first.
    pub(crate) history: Vec<AttemptRecord>,
    /// Whether DevOps prepares its merge. In memory only: a restart derives it.
    pub(crate) preparing: bool,
    /// Derived once its plan is complete: dependencies and dependents.
    pub(crate) linked: bool,
    pub(crate) deps: Box<[TaskIx]>,
    pub(crate) dependents: Vec<TaskIx>,
    /// Derived: dependencies that are not COMPLETED.
    pub(crate) waiting: u32,
    /// Derived: the number of tasks on the longest path from here, including itself.
    pub(crate) remaining: u32,
    /// Derived: its position in its class's ready set.
    pub(crate) ready: Option<(ClassIx, Key)>,
    /// When it last entered a ready set. In memory only; 0: never, or before the engine was loaded from records.
    pub(crate) ready_since: Timestamp,
}

/// The git state of a task.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Git {
    pub(crate) harvested: Option<(u32, CommitId)>,
    pub(crate) agent: Option<AgentName>,
    pub(crate) candidate: Option<(CommitId, CommitId)>,
    pub(crate) approved_at: Option<Timestamp>,
    pub(crate) merging: Option<MergeId>,
    pub(crate) merge_commit: Option<CommitId>,
    pub(crate) resolved_by: Option<TaskId>,
    pub(crate) delivered_at: Option<Timestamp>,
    /// Derived: the open resolution task of a conflict.
    pub(crate) resolution: Option<TaskIx>,
}

impl Task {
    pub(crate) fn new(project: ProjectIx, plan: u32, spec: Arc<TaskSpec>, kind: Kind, at: Timestamp) -> Self {
        Self {
            spec,
            kind,
            project,
            plan,
            status: Status::Todo,
            blocked: None,
            rejected: None,
            attempts: 0,
            charged: 0,
            uncharged: 0,
            limited: 0,
            stalls: 0,
            held: None,
            summary: None,
            backoff_ms: None,
            created_at: at,
            updated_at: at,
            feedback: Vec::new(),
            git: None,
            history: Vec::new(),
            preparing: false,
            linked: false,
            deps: Box::default(),
            dependents: Vec::new(),
            waiting: 0,
            remaining: 1,
            ready: None,
            ready_since: Timestamp(0),
        }
    }

    /// The newest attempt, if it is running.
    pub(crate) fn running(&self) -> Option<&AttemptRecord> {
        self.history.last().filter(|a| a.outcome.is_none())
    }

    pub(crate) fn attempt(&self, number: u32) -> Option<&AttemptRecord> {
        self.history.iter().rev().find(|a| a.attempt.number == number)
    }

    pub(crate) fn git_mut(&mut self) -> &mut Git {
        self.git.get_or_insert_default()
    }

    pub(crate) fn harvested(&self) -> Option<(u32, CommitId)> {
        self.git.as_ref()?.harvested
    }

    pub(crate) fn candidate(&self) -> Option<(CommitId, CommitId)> {
        self.git.as_ref()?.candidate
    }

    pub(crate) fn approved_at(&self) -> Option<Timestamp> {
        self.git.as_ref()?.approved_at
    }

    pub(crate) fn merging(&self) -> Option<MergeId> {
        self.git.as_ref()?.merging
    }

    pub(crate) fn resolution(&self) -> Option<TaskIx> {
        self.git.as_ref()?.resolution
    }

    /// The conflict of a resolution task.
    pub(crate) fn conflict(&self) -> Option<&Conflict> {
        self.kind.conflict()
    }

    pub(crate) fn is_human(&self) -> bool {
        matches!(self.spec.executor, Executor::Human)
    }

    pub(crate) fn blocked_for(&self, reason: BlockedReason) -> bool {
        self.blocked.as_ref().is_some_and(|b| b.0 == reason)
    }

    /// The definition of the ready set: the stage that could start now, given a slot.
    pub(crate) fn startable(&self) -> Option<Stage> {
        if !self.linked || self.backoff_ms.is_some() || self.running().is_some() {
            return None;
        }
        match self.status {
            Status::Todo if self.waiting == 0 && !self.is_human() => Some(Stage::Work),
            Status::Testing if self.candidate().is_some() => Some(Stage::Check),
            _ => None,
        }
    }
}

/// A project.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) record: ProjectRecord,
    pub(crate) plans: Vec<PlanRecord>,
    /// In submission order.
    pub(crate) tasks: Vec<TaskIx>,
    pub(crate) by_id: HashMap<TaskId, TaskIx>,
    pub(crate) classes: BTreeMap<RoleName, ClassIx>,
    /// Busy agents.
    pub(crate) agents: BTreeMap<AgentName, TaskIx>,
    pub(crate) merges: Vec<MergeRecord>,
    /// Derived: approved tasks by priority, then age of the approval.
    pub(crate) queue: BTreeSet<(Priority, Timestamp, TaskIx)>,
    /// The task that the queue works on until it lands, conflicts or fails.
    pub(crate) front: Option<TaskIx>,
    /// Derived: the merge in flight.
    pub(crate) merging: Option<MergeId>,
    /// Derived: the open resolution task of a conflict with the source.
    pub(crate) sync: Option<TaskIx>,
    /// Earlier heads of the branch: a late message that names one of them is outdated.
    pub(crate) past: HashSet<CommitId>,
    /// Heads since the last delivery, oldest first: the head, the merge commit, the tasks that it completed.
    pub(crate) undelivered: Vec<Undelivered>,
    /// Tasks of a plan that is not complete yet.
    pub(crate) unlinked: Vec<TaskIx>,
    pub(crate) rejected: Vec<TaskIx>,
    /// Derived: tasks by status.
    pub(crate) counts: [u32; 8],
    /// Derived: running attempts.
    pub(crate) running: u32,
}

/// A step of the integration branch that was not delivered to the source yet.
#[derive(Debug, Clone)]
pub(crate) struct Undelivered {
    pub(crate) head: CommitId,
    pub(crate) merge_commit: Option<CommitId>,
    pub(crate) tasks: Vec<TaskIx>,
}

impl Project {
    pub(crate) fn new(record: ProjectRecord) -> Self {
        Self {
            record,
            plans: Vec::new(),
            tasks: Vec::new(),
            by_id: HashMap::new(),
            classes: BTreeMap::new(),
            agents: BTreeMap::new(),
            merges: Vec::new(),
            queue: BTreeSet::new(),
            front: None,
            merging: None,
            sync: None,
            past: HashSet::new(),
            undelivered: Vec::new(),
            unlinked: Vec::new(),
            rejected: Vec::new(),
            counts: [0; 8],
            running: 0,
        }
    }

    pub(crate) fn name(&self) -> &ProjectName {
        &self.record.spec.name
    }

    pub(crate) fn has_repository(&self) -> bool {
        self.record.spec.source.is_some()
    }

    pub(crate) fn has_checks(&self) -> bool {
        !self.record.spec.checks.is_empty()
    }

    pub(crate) fn task_ref(&self, id: &TaskId) -> TaskRef {
        TaskRef { project: self.name().clone(), id: id.clone() }
    }

    /// The role whose image and limits a task uses. A manual task has no role: its checks use the resolver's role, else
    /// the first role.
    pub(crate) fn role_of<'a>(&'a self, executor: &'a Executor) -> Option<&'a RoleName> {
        match executor {
            Executor::Agent(role) => Some(role),
            Executor::Human => {
                let spec = &self.record.spec;
                spec.resolver.as_ref().or(spec.roles.first().map(|r| &r.name))
            }
        }
    }
}

/// A role of a project: it caps and orders its attempts.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    pub(crate) project: ProjectIx,
    /// The project's name.
    pub(crate) of: ProjectName,
    pub(crate) spec: RoleSpec,
    /// The profile of its agents.
    pub(crate) profile: Option<Arc<Profile>>,
    /// Derived: its running work attempts, without checks.
    pub(crate) working: u32,
    /// Indices of busy agents: `dev2` is 2.
    pub(crate) busy: BTreeSet<u32>,
    /// The most attempts that may run: the count, or the running ones when the count was lowered.
    pub(crate) allowed: u32,
    pub(crate) ready: Ready,
    /// Derived: the hosts that can run its attempts.
    pub(crate) fits: Fits,
}

impl Class {
    pub(crate) fn provider(&self) -> Option<&str> {
        self.profile.as_ref().map(|profile| &*profile.provider)
    }

    pub(crate) fn needs(&self) -> Needs<'_> {
        let RoleSpec { name, labels, secrets, image, .. } = &self.spec;
        let groups = self.profile.as_ref().map_or(&[][..], |profile| &profile.secrets);
        Needs { project: &self.of, role: name, labels, all: secrets, groups, image: image.as_deref() }
    }
}

/// A host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) name: HostName,
    /// In memory only.
    pub(crate) ix: HostIx,
    /// Its offer. In memory only; `None`: it has not reported since the start.
    pub(crate) offer: Option<Offer>,
    /// Slots that it claims.
    pub(crate) claimed: u32,
    /// Tasks whose newest attempt runs on it.
    pub(crate) running: BTreeSet<TaskIx>,
    /// The most attempts that may run: the slots, or the running ones when the slots were lowered.
    pub(crate) allowed: u32,
    /// Attempts whose end is long overdue. In memory only.
    pub(crate) owes: BTreeSet<AttemptId>,
    /// Unusable slots.
    pub(crate) quarantine: Option<Quarantine>,
    /// In memory only.
    pub(crate) presence: Presence,
    /// When it last fell silent or failed.
    pub(crate) end: Option<Box<End>>,
    /// Whether users drain it.
    pub(crate) drain: Option<Drain>,
    /// Its pins.
    pub(crate) pins: Option<Box<Pins>>,
}

impl Host {
    pub(crate) fn new(name: HostName, slots: u32) -> Self {
        Self {
            name,
            ix: 0,
            offer: None,
            claimed: slots,
            running: BTreeSet::new(),
            allowed: slots,
            owes: BTreeSet::new(),
            quarantine: None,
            presence: Presence::Awaited,
            end: None,
            drain: None,
            pins: None,
        }
    }

    /// Slots in which an attempt may start now.
    pub(crate) fn free(&self) -> u32 {
        if !matches!(self.presence, Presence::Present { .. }) || self.drain.is_some() || !self.owes.is_empty() {
            return 0;
        }
        let quarantined = self.quarantine.as_ref().map_or(0, |quarantine| quarantine.slots);
        self.slots().saturating_sub(quarantined).saturating_sub(self.running.len() as u32)
    }

    /// Whether its attempts are UNKNOWN, because it does not report.
    pub(crate) fn is_silent(&self) -> bool {
        !self.presence.is_present()
    }

    /// Whether it could run an attempt without a user's action. A silent host is expected to return until it is lost.
    pub(crate) fn is_expected(&self) -> bool {
        self.slots() > 0 && self.drain.is_none() && !matches!(self.presence, Presence::Lost { .. })
    }

    pub(crate) fn intent(&self) -> Option<HostIntentRecord> {
        let said = self.drain.is_some() || self.pins.is_some();
        said.then(|| HostIntentRecord { host: self.name.clone(), drain: self.drain, pins: self.pins.clone() })
    }

    pub(crate) fn record(&self) -> HostRecord {
        HostRecord {
            host: self.name.clone(),
            slots: self.claimed,
            secrets: Vec::new(),
            quarantine: self.quarantine.clone(),
        }
    }
}
