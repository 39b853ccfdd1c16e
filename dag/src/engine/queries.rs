//! Queries of the shell and the gateway. Nothing here changes anything; lists are built on the fly.

use super::{
    Engine,
    state::{Host, Project},
};
use crate::{
    ids::{AgentName, AttemptId, CommitId, HostName, MergeId, ProjectName, TaskId, TaskRef, Timestamp},
    offer::Offer,
    presence::Presence,
    record::{
        AttemptRecord, Drain, HostRecord, MergeRecord, MergeState, PlanRecord, ProjectRecord, ProviderRecord, Status,
        TaskRecord,
    },
};

/// Tasks by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts(pub(super) [u32; 8]);

impl Counts {
    /// The number of tasks with this status.
    pub fn of(&self, status: Status) -> u32 {
        self.0[status as usize]
    }

    /// The number of all tasks.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The number of tasks that are neither COMPLETED nor REJECTED.
    pub fn unfinished(&self) -> u32 {
        self.total() - self.of(Status::Completed) - self.of(Status::Rejected)
    }
}

impl Engine {
    /// All projects by name.
    pub fn projects(&self) -> impl Iterator<Item = &ProjectRecord> + '_ {
        self.by_name.values().map(|&ix| &self.projects[ix as usize].record)
    }

    /// One project.
    pub fn project(&self, name: &ProjectName) -> Option<&ProjectRecord> {
        Some(&self.known(name)?.record)
    }

    pub(super) fn known(&self, name: &ProjectName) -> Option<&Project> {
        Some(&self.projects[self.project_ix(name)? as usize])
    }

    /// The submissions of a project, oldest first.
    pub fn plans(&self, project: &ProjectName) -> &[PlanRecord] {
        self.known(project).map_or(&[], |p| &p.plans)
    }

    /// The tasks of a project in submission order.
    pub fn tasks(&self, project: &ProjectName) -> impl Iterator<Item = TaskRecord> + '_ {
        let tasks = self.known(project).map_or(&[][..], |p| &p.tasks);
        tasks.iter().map(|&ix| self.task_record(ix))
    }

    /// The names of a project's tasks in submission order; with `plan`, those that this plan added.
    pub fn task_refs(&self, project: &ProjectName, plan: Option<u32>) -> Vec<TaskRef> {
        let Some(known) = self.known(project) else { return Vec::new() };
        let tasks = known.tasks.iter().map(|&ix| self.at(ix));
        tasks.filter(|t| plan.is_none_or(|p| p == t.plan)).map(|t| known.task_ref(&t.spec.id)).collect()
    }

    /// One task.
    pub fn task(&self, task: &TaskRef) -> Option<TaskRecord> {
        Some(self.task_record(self.ix(task)?))
    }

    /// The status of a task.
    pub fn status(&self, task: &TaskRef) -> Option<Status> {
        Some(self.at(self.ix(task)?).status)
    }

    /// The newest attempts of a task, oldest first.
    pub fn attempts(&self, task: &TaskRef) -> &[AttemptRecord] {
        self.ix(task).map_or(&[], |ix| &self.at(ix).history)
    }

    /// The running attempt of a task.
    pub fn running(&self, task: &TaskRef) -> Option<&AttemptRecord> {
        self.at(self.ix(task)?).running()
    }

    /// The open resolution task of a blocked task.
    pub fn resolution(&self, task: &TaskRef) -> Option<TaskRef> {
        let task = self.at(self.ix(task)?);
        Some(self.task_ref(self.at(task.resolution()?)))
    }

    /// Whether it is a resolution task that was rejected or superseded. Nobody waits for it: the blocked task or the
    /// delivery shows how things go on.
    pub fn resolution_given_up(&self, task: &TaskRef) -> bool {
        let task = self.ix(task).map(|ix| self.at(ix));
        task.is_some_and(|task| task.status == Status::Rejected && task.conflict().is_some())
    }

    /// The attempt number for the pin of a user's result, before [`crate::command::Command::ResolveTask`] names it. For
    /// a blocked task it is the number of its resolution task.
    pub fn next_attempt(&self, task: &TaskRef) -> Option<AttemptId> {
        let task = self.at(self.ix(task)?);
        let task = task.resolution().map_or(task, |ix| self.at(ix));
        Some(AttemptId { task: self.task_ref(task), number: self.next_number(task) })
    }

    /// The merges of a project, oldest first, including intended and lost ones.
    pub fn merges(&self, project: &ProjectName) -> &[MergeRecord] {
        self.known(project).map_or(&[], |p| &p.merges)
    }

    /// The merge in flight.
    pub fn merging(&self, project: &ProjectName) -> Option<MergeId> {
        self.known(project)?.merging
    }

    /// The tasks in a project's merge queue, in order.
    pub fn merge_queue(&self, project: &ProjectName) -> Vec<TaskId> {
        let Some(known) = self.known(project) else { return Vec::new() };
        let front = crate::merge_queue::front(known);
        let rest = known.queue.iter().map(|&(_, _, ix)| ix).filter(|&ix| Some(ix) != front);
        front.into_iter().chain(rest).map(|ix| self.at(ix).spec.id.clone()).collect()
    }

    /// All hosts by name.
    pub fn hosts(&self) -> impl Iterator<Item = HostRecord> + '_ {
        self.hosts.values().map(|h| h.record())
    }

    /// A host's offer; `None`: the host has not reported since the start.
    pub fn offer(&self, host: &HostName) -> Option<&Offer> {
        self.hosts.get(host)?.offer.as_ref()
    }

    /// Whether a host is present.
    pub fn presence(&self, host: &HostName) -> Option<Presence> {
        Some(self.hosts.get(host)?.presence)
    }

    /// Whether a host is being drained.
    pub fn drain(&self, host: &HostName) -> Option<Drain> {
        self.hosts.get(host)?.drain
    }

    /// Whether the state of an attempt is unknown, because it runs on a silent host.
    pub fn is_unknown(&self, attempt: &AttemptRecord) -> bool {
        attempt.outcome.is_none() && self.hosts.get(&attempt.host).is_some_and(Host::is_silent)
    }

    /// The attempts that run on a host, in the order of their tasks.
    pub fn on_host(&self, host: &HostName) -> impl Iterator<Item = &AttemptRecord> + '_ {
        let tasks = self.hosts.get(host).into_iter().flat_map(|h| &h.running);
        tasks.filter_map(|&ix| self.at(ix).running())
    }

    /// Busy agents, by project and name, with their attempts.
    pub fn agents(&self) -> impl Iterator<Item = (&ProjectName, &AgentName, &AttemptRecord)> + '_ {
        self.by_name
            .values()
            .map(|&ix| &self.projects[ix as usize])
            .flat_map(|p| p.agents.iter().filter_map(|(agent, &ix)| Some((p.name(), agent, self.at(ix).running()?))))
    }

    /// Tasks by status; `None`: of all projects.
    pub fn counts(&self, project: Option<&ProjectName>) -> Counts {
        let mut sum = Counts::default();
        for known in self.projects.iter().filter(|p| project.is_none_or(|name| p.name() == name)) {
            sum.0.iter_mut().zip(known.counts).for_each(|(sum, n)| *sum += n);
        }
        sum
    }

    /// Free slots of all hosts.
    pub fn free_slots(&self) -> u64 {
        self.free
    }

    /// Slots of a host in which an attempt may start now.
    pub fn free_on(&self, host: &HostName) -> u32 {
        self.hosts.get(host).map_or(0, Host::free)
    }

    /// Slots of all hosts.
    pub fn slots(&self) -> u64 {
        self.hosts.values().fold(0, |sum, host| sum.saturating_add(host.slots().into()))
    }

    /// Providers that refused requests and have not served since, by name.
    pub fn providers(&self) -> impl Iterator<Item = &ProviderRecord> + '_ {
        self.providers.values()
    }

    /// Why a ready task does not start although there may be free slots: a parked provider, or money.
    pub fn held_back(&self, task: &TaskRef) -> Option<String> {
        self.held(self.at(self.ix(task)?))
    }

    /// Tasks that wait only for a slot.
    pub fn ready(&self) -> usize {
        self.classes.iter().map(|c| c.ready.len()).sum()
    }

    /// Since when a task waits only for a slot, or waited until its newest attempt started; `None`: it never did, or
    /// did so before this engine was loaded from records.
    pub fn ready_since(&self, task: &TaskRef) -> Option<Timestamp> {
        Some(self.at(self.ix(task)?).ready_since).filter(|since| *since != Timestamp(0))
    }

    /// Running attempts.
    pub fn running_attempts(&self) -> u32 {
        self.projects.iter().map(|p| p.running).sum()
    }

    /// The merges in the integration branch, oldest first: the task and the merge commit.
    pub fn landed(&self, project: &ProjectName) -> impl Iterator<Item = (&TaskRef, CommitId)> + '_ {
        let landed = self.merges(project).iter().filter(|m| m.state == MergeState::Landed);
        landed.map(|m| (&m.attempt.task, m.candidate))
    }
}
