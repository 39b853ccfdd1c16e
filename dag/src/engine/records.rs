//! Between the state and the store: a record for everything that is kept, and the state from records.

use std::collections::BTreeMap;

use super::{
    Config, Engine,
    state::{Git, Host, Project, ProjectIx, Task, TaskIx, Undelivered},
};
use crate::{
    ids::{AttemptId, CommitId, HostName, MergeId, ProjectName, TaskId, TaskRef},
    merge_queue,
    record::{AttemptRecord, Kind, MergeRecord, MergeState, PlanRecord, Record, RecordKey, Status, TaskRecord},
};

/// Records that do not fit together: the store is damaged, or belongs to another installation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// The project of a record is missing.
    #[error("{key:?} belongs to project `{project}`, which has no record; restore the store from a backup")]
    NoProject {
        /// The record.
        key: RecordKey,
        /// The missing project.
        project: ProjectName,
    },
    /// The task of a record is missing.
    #[error("{key:?} belongs to task `{task}`, which has no record; restore the store from a backup")]
    NoTask {
        /// The record.
        key: RecordKey,
        /// The missing task.
        task: TaskRef,
    },
    /// Tasks are numbered without gaps.
    #[error("task number {seq} is missing or there twice; restore the store from a backup")]
    TaskNumber {
        /// The first number that is wrong.
        seq: u32,
    },
    /// A dependency is missing.
    #[error("task `{task}` depends on `{dependency}`, which has no record; restore the store from a backup")]
    NoDependency {
        /// The task.
        task: TaskRef,
        /// The missing dependency.
        dependency: TaskId,
    },
    /// The host of a running attempt is missing.
    #[error("attempt `{0}` runs on a host without a record; restore the store from a backup")]
    NoHost(AttemptId),
    /// Users want something of a host that is missing.
    #[error("host `{0}` is to be drained or is held to limits, but has no record; restore the store from a backup")]
    NoDrainedHost(HostName),
    /// The newest attempt of a task is missing.
    #[error("attempt `{0}` has no record; restore the store from a backup")]
    NoAttempt(AttemptId),
    /// The newest merge of a project is missing.
    #[error("merge {number} of project `{project}` has no record; restore the store from a backup")]
    NoMerge {
        /// The project.
        project: ProjectName,
        /// The merge's number.
        number: u64,
    },
    /// Plans are numbered without gaps.
    #[error("plan {number} of project `{project}` is missing or there twice; restore the store from a backup")]
    PlanNumber {
        /// The project.
        project: ProjectName,
        /// The first number that is wrong.
        number: u32,
    },
}

impl Engine {
    /// The state from the records, in any order.
    pub fn from_records(config: Config, records: impl Iterator<Item = Record>) -> Result<Self, Damaged> {
        let mut engine = Self::new(config);
        let (mut tasks, mut plans, mut attempts, mut merges) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut intents = Vec::new();
        for record in records {
            match record {
                Record::Project(record) => {
                    let ix = engine.insert_project(record);
                    engine.describe_classes(ix);
                }
                Record::Plan(record) => plans.push(record),
                Record::Task(record) => tasks.push(record),
                Record::Attempt(record) => attempts.push(record),
                Record::Merge(record) => merges.push(record),
                Record::Provider(record) => {
                    engine.providers.insert(record.provider.clone(), record);
                }
                Record::Host(record) => {
                    let mut host = Host::new(record.host.clone(), record.slots);
                    host.quarantine = record.quarantine;
                    engine.insert_host(host);
                }
                Record::HostIntent(record) => intents.push(record),
            }
        }
        for intent in intents {
            if !engine.change_host(&intent.host, |host| (host.drain, host.pins) = (intent.drain, intent.pins)) {
                return Err(Damaged::NoDrainedHost(intent.host));
            }
        }
        engine.restore_plans(plans)?;
        engine.restore_tasks(tasks)?;
        engine.restore_attempts(attempts)?;
        engine.restore_merges(merges)?;
        engine.restore_derived();
        Ok(engine)
    }

    fn owner(&self, project: &ProjectName, key: impl FnOnce() -> RecordKey) -> Result<ProjectIx, Damaged> {
        self.project_ix(project).ok_or_else(|| Damaged::NoProject { key: key(), project: project.clone() })
    }

    fn restore_plans(&mut self, mut plans: Vec<PlanRecord>) -> Result<(), Damaged> {
        plans.sort_by_key(|p| p.number);
        for plan in plans {
            let key = || RecordKey::Plan(plan.project.clone(), plan.number);
            let ix = self.owner(&plan.project, key)?;
            self.projects[ix as usize].plans.push(plan);
        }
        for project in &self.projects {
            let wrong = (1..=project.record.plans)
                .find(|&n| project.plans.get(n as usize - 1).is_none_or(|plan| plan.number != n));
            if let Some(number) = wrong {
                return Err(Damaged::PlanNumber { project: project.name().clone(), number });
            }
        }
        Ok(())
    }

    #[allow(clippy::vec_box, reason = "they come boxed, and sorting moves pointers")]
    fn restore_tasks(&mut self, mut tasks: Vec<Box<TaskRecord>>) -> Result<(), Damaged> {
        tasks.sort_unstable_by_key(|t| t.seq);
        self.tasks.reserve_exact(tasks.len());
        for (seq, record) in tasks.into_iter().enumerate() {
            if record.seq != seq as u32 {
                return Err(Damaged::TaskNumber { seq: seq as u32 });
            }
            let name = TaskRef { project: record.project.clone(), id: record.spec.id.clone() };
            let project = self.owner(&record.project, || RecordKey::Task(name))?;
            self.insert_task(restore_task(*record, project));
        }
        for ix in 0..self.tasks.len() as TaskIx {
            let task = self.at(ix);
            let by_id = &self.project_of(task).by_id;
            if let Some(id) = task.spec.dependencies.iter().find(|d| !by_id.contains_key(*d)) {
                return Err(Damaged::NoDependency { task: self.task_ref(task), dependency: id.clone() });
            }
            let (status, blocked) = (task.status, self.blocked_by(task));
            if status == Status::Rejected {
                let project = task.project;
                self.projects[project as usize].rejected.push(ix);
            }
            if let Some(blocked) = blocked.filter(|_| !status.is_terminal()) {
                self.tasks[blocked as usize].git_mut().resolution = Some(ix);
            }
            if matches!(self.at(ix).kind, Kind::Sync { .. }) && !status.is_terminal() {
                let project = self.at(ix).project;
                self.projects[project as usize].sync = Some(ix);
            }
            self.link(ix);
        }
        (0..self.projects.len() as ProjectIx).for_each(|project| self.measure_paths(project));
        Ok(())
    }

    #[allow(clippy::vec_box, reason = "they come boxed, and sorting moves pointers")]
    fn restore_attempts(&mut self, mut attempts: Vec<Box<AttemptRecord>>) -> Result<(), Damaged> {
        attempts.sort_unstable_by_key(|a| a.attempt.number);
        for record in attempts {
            let Some(ix) = self.ix(&record.attempt.task) else {
                let task = record.attempt.task.clone();
                return Err(Damaged::NoTask { key: RecordKey::Attempt(record.attempt), task });
            };
            let runs = record.outcome.is_none();
            if runs && !self.hosts.contains_key(&record.host) {
                return Err(Damaged::NoHost(record.attempt));
            }
            let history = &mut self.tasks[ix as usize].history;
            if history.is_empty() {
                history.reserve_exact(1);
            }
            history.push(*record);
            if runs {
                self.occupy(ix);
            }
        }
        let newest = |task: &Task| task.history.last().map_or(0, |a| a.attempt.number);
        if let Some(task) = self.tasks.iter().find(|task| newest(task) != task.attempts) {
            return Err(Damaged::NoAttempt(AttemptId { task: self.task_ref(task), number: task.attempts }));
        }
        for host in self.hosts.values_mut() {
            host.allowed = host.slots().max(host.running.len() as u32);
        }
        for class in &mut self.classes {
            class.allowed = class.spec.count.max(class.busy.len() as u32);
        }
        Ok(())
    }

    #[allow(clippy::vec_box, reason = "they come boxed, and sorting moves pointers")]
    fn restore_merges(&mut self, mut merges: Vec<Box<MergeRecord>>) -> Result<(), Damaged> {
        merges.sort_unstable_by_key(|m| m.id);
        for record in merges {
            let key = || RecordKey::Merge(record.project.clone(), record.id);
            let ix = self.owner(&record.project, key)?;
            if self.ix(&record.attempt.task).is_none() {
                return Err(Damaged::NoTask { key: key(), task: record.attempt.task.clone() });
            }
            let project = &mut self.projects[ix as usize];
            project.past.extend(Some(record.onto).filter(|onto| project.record.head != Some(*onto)));
            if record.state == MergeState::Intended {
                project.merging = Some(record.id);
            }
            project.merges.push(*record);
        }
        let newest = |project: &Project| project.merges.last().map_or(0, |m| m.id.0);
        match self.projects.iter().find(|project| newest(project) != project.record.merges) {
            None => Ok(()),
            Some(project) => Err(Damaged::NoMerge { project: project.name().clone(), number: project.record.merges }),
        }
    }

    /// Rebuilds what is in memory only, as it is after every step: the queues' fronts, merges being prepared,
    /// deliveries.
    fn restore_derived(&mut self) {
        for ix in 0..self.tasks.len() as TaskIx {
            if let Some(key) = self.queue_key(ix).filter(|_| !self.at(ix).status.is_terminal()) {
                let project = self.at(ix).project;
                self.projects[project as usize].queue.insert(key);
            }
            let task = &mut self.tasks[ix as usize];
            task.preparing = task.status == Status::Testing && task.candidate().is_none();
        }
        for ix in 0..self.projects.len() as ProjectIx {
            let project = &self.projects[ix as usize];
            let busy = |&ix: &TaskIx| self.at(ix).merging().is_some() || self.at(ix).status == Status::Testing;
            let front = project.queue.iter().map(|&(_, _, task)| task).find(busy);
            let front = front.or_else(|| merge_queue::front(project));
            if let Some(front) = front {
                let task = &mut self.tasks[front as usize];
                task.preparing |= task.status == Status::Approved && task.merging().is_none();
            }
            self.projects[ix as usize].front = front;
            self.restore_deliveries(ix);
        }
        (0..self.tasks.len() as TaskIx).for_each(|ix| self.refresh(ix));
    }

    fn restore_deliveries(&mut self, ix: ProjectIx) {
        let mut waiting: BTreeMap<CommitId, Vec<TaskIx>> = BTreeMap::new();
        for &task in &self.projects[ix as usize].tasks {
            if let Some(git) = self.at(task).git.as_ref().filter(|g| g.delivered_at.is_none())
                && let Some(commit) = git.merge_commit
            {
                waiting.entry(commit).or_default().push(task);
            }
        }
        let project = &mut self.projects[ix as usize];
        for merge in project.merges.iter().filter(|m| m.state == MergeState::Landed) {
            if let Some(tasks) = waiting.remove(&merge.candidate) {
                let (head, merge_commit) = (merge.candidate, Some(merge.candidate));
                project.undelivered.push(Undelivered { head, merge_commit, tasks });
            }
        }
    }

    /// The record under a key; `None`: it does not exist (any more).
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        let project = |name| Some(&self.projects[self.project_ix(name)? as usize]);
        match key {
            RecordKey::Project(name) => Some(Record::Project(project(name)?.record.clone())),
            RecordKey::Plan(name, number) => {
                let plan = project(name)?.plans.iter().find(|p| p.number == *number)?;
                Some(Record::Plan(plan.clone()))
            }
            RecordKey::Task(task) => Some(Record::Task(Box::new(self.task_record(self.ix(task)?)))),
            RecordKey::Attempt(id) => {
                let attempt = self.at(self.ix(&id.task)?).attempt(id.number)?;
                Some(Record::Attempt(Box::new(attempt.clone())))
            }
            RecordKey::Merge(name, id) => {
                Some(Record::Merge(Box::new(find_merge(&project(name)?.merges, *id)?.clone())))
            }
            RecordKey::Host(name) => Some(Record::Host(self.hosts.get(name)?.record())),
            RecordKey::HostIntent(name) => Some(Record::HostIntent(self.hosts.get(name)?.intent()?)),
            RecordKey::Provider(name) => Some(Record::Provider(self.providers.get(name)?.clone())),
        }
    }

    /// Every record: projects, their plans and merges; tasks with their attempts; hosts; providers.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let projects = self.projects.iter().flat_map(|p| {
            let plans = p.plans.iter().cloned().map(Record::Plan);
            let merges = p.merges.iter().map(|m| Record::Merge(Box::new(m.clone())));
            std::iter::once(Record::Project(p.record.clone())).chain(plans).chain(merges)
        });
        let tasks = (0..self.tasks.len() as TaskIx).flat_map(|ix| {
            let attempts = self.at(ix).history.iter().map(|a| Record::Attempt(Box::new(a.clone())));
            std::iter::once(Record::Task(Box::new(self.task_record(ix)))).chain(attempts)
        });
        let hosts = self
            .hosts
            .values()
            .flat_map(|host| std::iter::once(Record::Host(host.record())).chain(host.intent().map(Record::HostIntent)));
        projects.chain(tasks).chain(hosts).chain(self.providers.values().cloned().map(Record::Provider))
    }

    pub(super) fn task_record(&self, ix: TaskIx) -> TaskRecord {
        let task = self.at(ix);
        let git = task.git.as_deref().cloned().unwrap_or_default();
        TaskRecord {
            project: self.project_of(task).name().clone(),
            seq: ix,
            spec: task.spec.clone(),
            kind: task.kind.clone(),
            plan: task.plan,
            status: task.status,
            blocked: task.blocked.as_deref().cloned(),
            rejected: task.rejected.clone(),
            attempts: task.attempts,
            charged: task.charged,
            uncharged: task.uncharged,
            limited: task.limited,
            backoff_ms: task.backoff_ms,
            harvested: git.harvested,
            agent: git.agent,
            candidate: git.candidate,
            approved_at: git.approved_at,
            merging: git.merging,
            merge_commit: git.merge_commit,
            resolved_by: git.resolved_by,
            feedback: task.feedback.clone(),
            delivered_at: git.delivered_at,
            created_at: task.created_at,
            updated_at: task.updated_at,
            held: task.held.clone(),
            summary: task.summary.as_deref().cloned(),
            stalls: task.stalls,
        }
    }
}

/// Merges are sorted by number and almost always without gaps.
fn find_merge(merges: &[MergeRecord], id: MergeId) -> Option<&MergeRecord> {
    merges.binary_search_by_key(&id, |m| m.id).ok().map(|n| &merges[n])
}

fn restore_task(record: TaskRecord, project: ProjectIx) -> Task {
    let git = Git {
        harvested: record.harvested,
        agent: record.agent,
        candidate: record.candidate,
        approved_at: record.approved_at,
        merging: record.merging,
        merge_commit: record.merge_commit,
        resolved_by: record.resolved_by,
        delivered_at: record.delivered_at,
        resolution: None,
    };
    let kind: Kind = record.kind;
    let mut task = Task::new(project, record.plan, record.spec, kind, record.created_at);
    task.status = record.status;
    task.blocked = record.blocked.map(Box::new);
    task.rejected = record.rejected;
    (task.attempts, task.charged, task.uncharged) = (record.attempts, record.charged, record.uncharged);
    (task.limited, task.backoff_ms) = (record.limited, record.backoff_ms);
    task.git = (git != Git::default()).then(|| Box::new(git));
    task.feedback = record.feedback;
    task.updated_at = record.updated_at;
    (task.held, task.stalls) = (record.held, record.stalls);
    task.summary = record.summary.map(Box::new);
    task
}
