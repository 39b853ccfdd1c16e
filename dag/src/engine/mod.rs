//! The engine: [`Engine::step`] takes one command and returns the facts, effects and records that follow from it.
//!
//! A step is `decide` (what the command itself means), `apply`, and then follow-ups until nothing more follows: merges
//! are prepared or intended, attempts started. Each follow-up sees the state with everything before it applied, so no
//! decision has to foresee the consequences of another one, and nothing is cloned.
//!
//! Work lists (`open`, `unprepared`, `queues`) are updated by `apply`, so the cost of a step depends on its changes; a
//! step never scans.

mod apply;
mod attempts;
mod belongs;
mod compose;
mod config;
mod deadlines;
mod delivery;
mod drain;
mod explain;
mod glance;
mod held;
mod hosts;
mod keep;
mod merges;
mod people;
mod providers;
mod queries;
mod records;
mod refresh;
mod rejections;
mod resume;
mod returns;
mod schedule;
mod silence;
mod sizes;
mod spending;
pub(crate) mod state;
mod submit;
mod touched;
mod waiting;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use config::{Backoff, Config};
pub use glance::Spot;
pub use queries::Counts;
pub use records::Damaged;
pub use sizes::Sizer;
pub use waiting::{WAITING_FOR, Waiting};
pub use watch::Watch;

use crate::{
    answer::Answer,
    command::{Command, Job},
    effect::Effect,
    fact::{Fact, FactKind},
    ids::{HostName, ProjectName, TaskRef, Timestamp},
    offer::Offer,
    record::{ProviderRecord, RecordKey},
    rejection::Rejection,
    room::Room,
};
use deadlines::Owing;
use state::{Class, ClassIx, Host, Project, ProjectIx, Task, TaskIx};
use touched::Touched;

/// Everything that devstack knows about projects, tasks, attempts, merges and hosts, and the rules for them.
#[derive(Debug, Clone)]
pub struct Engine {
    config: Config,
    pub(crate) tasks: Vec<Task>,
    pub(crate) projects: Vec<Project>,
    by_name: BTreeMap<ProjectName, ProjectIx>,
    pub(crate) classes: Vec<Class>,
    pub(crate) hosts: BTreeMap<HostName, Host>,
    /// Derived: classes that could start an attempt now, given a free slot.
    pub(crate) open: BTreeSet<ClassIx>,
    /// Derived: tasks in TESTING whose merge must be prepared.
    pub(crate) unprepared: BTreeSet<TaskIx>,
    /// Derived: projects whose merge queue has a next move.
    pub(crate) queues: BTreeSet<ProjectIx>,
    /// Derived: free slots of all hosts. Wider than the slots of one host, so that no claims of hosts make it wrap.
    pub(crate) free: u64,
    /// Derived: hosts with free slots, in the order of preference.
    pub(crate) room: Room,
    /// Projects in which a task was rejected or dependencies changed; checked once in the same step.
    pub(crate) recheck: BTreeSet<ProjectIx>,
    /// Providers that refused requests and have not served since.
    pub(crate) providers: BTreeMap<Box<str>, ProviderRecord>,
    /// The time of the newest fact. In memory only.
    time: Timestamp,
    /// Jobs that failed and wait for their next request. In memory only.
    troubles: HashMap<Job, Trouble>,
}

/// A job that failed.
#[derive(Debug, Clone)]
struct Trouble {
    /// The number of failures in a row.
    times: u32,
    /// The reason of the last failure.
    reason: String,
    /// Whether its timer is running.
    waiting: bool,
    /// The timer's length.
    after_ms: u64,
}

/// The meaning of a command itself, before its follow-ups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What happened.
    pub facts: Vec<Fact>,
    /// What the world must do.
    pub effects: Vec<Effect>,
    /// The answer for the asker.
    pub answer: Answer,
}

/// A whole step: to be committed in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What happened, in order.
    pub facts: Vec<Fact>,
    /// What the world must do, once the facts are durable.
    pub effects: Vec<Effect>,
    /// Records whose stored form changed, sorted, each once. [`Engine::record`] gives the new form, or `None` to delete
    /// it.
    pub touched: Vec<RecordKey>,
    /// The answer for the asker.
    pub answer: Answer,
}

/// What a command says about a host and no fact contains.
#[derive(Debug)]
struct Heard {
    offer: Option<(HostName, Offer)>,
    owing: Owing,
}

impl Heard {
    fn of(command: &Command, config: &Config) -> Self {
        Self { offer: Offer::of(command, config.images_kept), owing: Owing::of(command) }
    }
}

/// Facts and effects of a decision in progress.
#[derive(Debug)]
pub(crate) struct Draft {
    now: Timestamp,
    facts: Vec<Fact>,
    effects: Vec<Effect>,
}

impl Draft {
    fn new(now: Timestamp) -> Self {
        Self { now, facts: Vec::new(), effects: Vec::new() }
    }

    fn fact(&mut self, kind: FactKind) {
        self.facts.push(Fact { at: self.now, kind });
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

impl Engine {
    /// An empty engine.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            tasks: Vec::new(),
            projects: Vec::new(),
            by_name: BTreeMap::new(),
            classes: Vec::new(),
            hosts: BTreeMap::new(),
            open: BTreeSet::new(),
            unprepared: BTreeSet::new(),
            queues: BTreeSet::new(),
            free: 0,
            room: Room::default(),
            recheck: BTreeSet::new(),
            providers: BTreeMap::new(),
            time: Timestamp(0),
            troubles: HashMap::new(),
        }
    }

    /// Decides and applies a command and all its follow-ups. `now` must not be before an earlier one. A refused command
    /// changes nothing. The shell uses [`Engine::step_within`].
    pub fn step(&mut self, now: Timestamp, command: Command) -> Result<Decision, Rejection> {
        let command = command.fit();
        let heard = Heard::of(&command, &self.config);
        let proposal = self.decide(now, command)?;
        Ok(self.carry_out(now, proposal, heard))
    }

    /// Applies a proposal and all its follow-ups.
    fn carry_out(&mut self, now: Timestamp, proposal: Proposal, heard: Heard) -> Decision {
        let Heard { offer, owing } = heard;
        let Proposal { mut facts, mut effects, answer } = proposal;
        let mut touched = Touched::default();
        facts.iter().for_each(|fact| self.absorb(fact, &mut touched));
        if let Some((host, offer)) = offer {
            self.observe(&host, offer);
        }
        self.note_owing(owing, &facts);
        while let Some(draft) = self.follow_up(now) {
            draft.facts.iter().for_each(|fact| self.absorb(fact, &mut touched));
            facts.extend(draft.facts);
            effects.extend(draft.effects);
        }
        let touched = touched.keys(self);
        Decision { facts, effects, touched, answer }
    }

    /// The meaning of a command, without its follow-ups. The shell uses [`Engine::step`].
    pub fn decide(&self, now: Timestamp, command: Command) -> Result<Proposal, Rejection> {
        let mut draft = Draft::new(now);
        let d = &mut draft;
        let answer = match command {
            Command::SubmitPlan { plan, head } => self.submit_plan(d, plan, head)?,
            Command::CancelPlan { project, plan } => self.cancel_plan(d, project, plan)?,
            Command::PauseProject(project) => self.pause(d, project, true)?,
            Command::ResumeProject(project) => self.pause(d, project, false)?,
            Command::StopTask(task) => self.stop_task(d, task)?,
            Command::RetryTask { task, message } => self.retry_task(d, task, message)?,
            Command::RejectTask { task, reason } => self.reject_task(d, task, reason)?,
            Command::ApproveTask(task) => self.approve_task(d, task)?,
            Command::RequestChanges { task, message } => self.request_changes(d, task, message)?,
            Command::ResolveTask { task, number, commit } => self.resolve_task(d, task, number, commit)?,
            Command::ReportHost(report) => self.report_host(d, report),
            Command::ReportMember { report, joined } => self.report_member(d, report, joined),
            Command::SetHost { host, change } => self.set_host(d, host, change)?,
            Command::SuspectHost(host) => self.suspect_host(d, host),
            Command::LoseHost { host, silent_ms } => self.lose_host(d, host, silent_ms),
            Command::DrainHost { host, deadline_ms } => self.drain_host(d, host, deadline_ms)?,
            Command::UndrainHost(host) => self.undrain_host(d, host)?,
            Command::RemoveHost { host, force } => self.remove_host(d, host, force)?,
            Command::FinishAttempt { host, report } => self.finish_attempt(d, host, report),
            Command::MergePrepared { attempt, onto, candidate } => self.merge_prepared(d, attempt, onto, candidate),
            Command::MergeConflicted { attempt, conflict } => self.merge_conflicted(d, attempt, conflict),
            Command::MergeRefused { attempt, reason } => self.merge_refused(d, attempt, reason),
            Command::MergeLanded { merge, project, head } => self.merge_landed(d, project, merge, head)?,
            Command::MergeLost { merge, project, head } => self.merge_lost(d, project, merge, head)?,
            Command::HeadMoved { project, head } => self.head_moved(d, project, head)?,
            Command::Delivered { project, head } => self.delivered(d, project, head)?,
            Command::DeliveryBlocked { project, reason } => self.delivery_blocked(d, project, reason)?,
            Command::SourceConflicted { project, conflict } => self.source_conflicted(d, project, conflict)?,
            Command::TimerFired(timer) => self.timer_fired(d, timer),
            Command::JobFailed { job, reason } => self.job_failed(d, job, reason),
        };
        Ok(Proposal { facts: draft.facts, effects: draft.effects, answer })
    }

    /// Applies a fact: total and deterministic. [`Engine::step`] has already applied its own facts.
    pub fn apply(&mut self, fact: &Fact) {
        self.absorb(fact, &mut Touched::default());
    }

    // ---- finding things -----------------------------------------------------------------------

    fn project_ix(&self, name: &ProjectName) -> Option<ProjectIx> {
        self.by_name.get(name).copied()
    }

    fn find_project(&self, name: &ProjectName) -> Result<(ProjectIx, &Project), Rejection> {
        let ix = self.project_ix(name).ok_or_else(|| Rejection::UnknownProject(name.clone()))?;
        Ok((ix, &self.projects[ix as usize]))
    }

    fn ix(&self, task: &TaskRef) -> Option<TaskIx> {
        let project = self.project_ix(&task.project)?;
        self.projects[project as usize].by_id.get(&task.id).copied()
    }

    fn find_task(&self, task: &TaskRef) -> Result<(TaskIx, &Task), Rejection> {
        let ix = self.ix(task).ok_or_else(|| Rejection::UnknownTask(task.clone()))?;
        Ok((ix, &self.tasks[ix as usize]))
    }

    pub(crate) fn at(&self, ix: TaskIx) -> &Task {
        &self.tasks[ix as usize]
    }

    pub(crate) fn project_of(&self, task: &Task) -> &Project {
        &self.projects[task.project as usize]
    }

    pub(crate) fn task_ref(&self, task: &Task) -> TaskRef {
        self.project_of(task).task_ref(&task.spec.id)
    }

    /// The number of a task's next attempt: a number that was never assigned, not even by a Taskmaster whose state was
    /// lost.
    pub(crate) fn next_number(&self, task: &Task) -> u32 {
        task.attempts.max(self.config.attempts_behind).saturating_add(1)
    }

    /// The blocked task of a resolution task, if it blocks one.
    pub(crate) fn blocked_by(&self, resolution: &Task) -> Option<TaskIx> {
        self.project_of(resolution).by_id.get(resolution.kind.resolves()?).copied()
    }
}
