//! Facts about merges, heads, delivery, and the jobs of the shell.

use std::sync::Arc;

use crate::{
    attempt::Conflict,
    command::Job,
    engine::{
        Engine, Trouble,
        state::{Project, ProjectIx, Task, TaskIx, Undelivered},
        touched::Touched,
    },
    ids::{AttemptId, CommitId, MergeId, ProjectName, TaskRef, Timestamp},
    plan::TaskSpec,
    record::{Kind, MergeRecord, MergeState, Status},
};

impl Engine {
    pub(super) fn merge_requested(&mut self, attempt: &AttemptId) {
        let Some(ix) = self.ix(&attempt.task) else { return };
        self.tasks[ix as usize].preparing = true;
        self.take_front(ix);
        self.refresh(ix);
    }

    /// The queue works on this task now. A restart may choose another front than before: the preparation of the former
    /// front is dropped.
    fn take_front(&mut self, ix: TaskIx) {
        let (status, project) = (self.at(ix).status, self.at(ix).project);
        if status != Status::Approved {
            return;
        }
        let front = &mut self.projects[project as usize].front;
        if let Some(former) = front.replace(ix).filter(|&former| former != ix) {
            self.tasks[former as usize].preparing = false;
        }
    }

    pub(super) fn merge_was_prepared(
        &mut self,
        at: Timestamp,
        attempt: &AttemptId,
        candidate: (CommitId, CommitId),
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(&attempt.task) else { return };
        let task = &mut self.tasks[ix as usize];
        task.preparing = false;
        task.git_mut().candidate = Some(candidate);
        task.updated_at = at;
        self.take_front(ix);
        self.troubles.remove(&Job::Prepare(attempt.clone()));
        self.refresh(ix);
        touched.task(ix);
    }

    pub(super) fn merge_intended(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        merge: MergeId,
        attempt: &AttemptId,
        (commit, onto, candidate): (CommitId, CommitId, CommitId),
        touched: &mut Touched,
    ) {
        let (Some(p), Some(ix)) = (self.project_ix(project), self.ix(&attempt.task)) else { return };
        let state = &mut self.projects[p as usize];
        state.record.merges = merge.0;
        state.merging = Some(merge);
        state.merges.push(MergeRecord {
            project: project.clone(),
            id: merge,
            attempt: attempt.clone(),
            commit,
            onto,
            candidate,
            state: MergeState::Intended,
            at,
        });
        let task = &mut self.tasks[ix as usize];
        task.git_mut().merging = Some(merge);
        task.updated_at = at;
        self.take_front(ix);
        self.refresh(ix);
        touched.project(p);
        touched.merge(p, merge);
        touched.task(ix);
    }

    pub(super) fn merge_has_landed(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        merge: MergeId,
        head: CommitId,
        touched: &mut Touched,
    ) {
        let Some((p, ix, candidate)) = self.merge_over(at, project, merge, MergeState::Landed, touched) else { return };
        let state = &mut self.projects[p as usize];
        move_head(state, head);
        let tasks = Vec::with_capacity(1);
        state.undelivered.push(Undelivered { head, merge_commit: Some(candidate), tasks });
        self.refresh(ix);
    }

    pub(super) fn merge_abandoned(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        merge: MergeId,
        head: CommitId,
        touched: &mut Touched,
    ) {
        let Some((p, ix, _)) = self.merge_over(at, project, merge, MergeState::Lost, touched) else { return };
        move_head(&mut self.projects[p as usize], head);
        self.tasks[ix as usize].git_mut().candidate = None;
        self.refresh(ix);
    }

    fn merge_over(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        merge: MergeId,
        outcome: MergeState,
        touched: &mut Touched,
    ) -> Option<(ProjectIx, TaskIx, CommitId)> {
        let p = self.project_ix(project)?;
        let state = &mut self.projects[p as usize];
        let record = state.merges.iter_mut().rev().find(|m| m.id == merge && m.state == MergeState::Intended)?;
        (record.state, record.at) = (outcome, at);
        let (attempt, candidate) = (record.attempt.clone(), record.candidate);
        state.merging = None;
        self.troubles.remove(&Job::Publish(project.clone(), merge));
        let ix = self.ix(&attempt.task)?;
        let task = &mut self.tasks[ix as usize];
        task.git_mut().merging = None;
        task.updated_at = at;
        touched.project(p);
        touched.merge(p, merge);
        touched.task(ix);
        Some((p, ix, candidate))
    }

    pub(super) fn head_has_moved(&mut self, project: &ProjectName, head: CommitId, touched: &mut Touched) {
        let Some(p) = self.project_ix(project) else { return };
        let state = &mut self.projects[p as usize];
        move_head(state, head);
        state.undelivered.push(Undelivered { head, merge_commit: None, tasks: Vec::new() });
        self.refresh_queue(p);
        touched.project(p);
    }

    pub(super) fn conflict_found(
        &mut self,
        at: Timestamp,
        task: &TaskRef,
        resolution: &Arc<TaskSpec>,
        conflict: &Conflict,
        touched: &mut Touched,
    ) {
        let Some(blocked) = self.ix(task) else { return };
        let state = self.at(blocked);
        let (project, plan, remaining) = (state.project, state.plan, state.remaining);
        let kind = Kind::Resolve { resolves: task.id.clone(), conflict: Box::new(conflict.clone()) };
        let mut new = Task::new(project, plan, resolution.clone(), kind, at);
        (new.linked, new.remaining) = (true, remaining);
        let ix = self.insert_task(new);
        self.tasks[blocked as usize].git_mut().resolution = Some(ix);
        self.refresh(ix);
        touched.task(blocked);
        touched.task(ix);
    }

    pub(super) fn source_has_conflicted(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        resolution: &Arc<TaskSpec>,
        conflict: &Conflict,
        touched: &mut Touched,
    ) {
        let Some(p) = self.project_ix(project) else { return };
        let plan = self.projects[p as usize].record.plans;
        let mut new = Task::new(p, plan, resolution.clone(), Kind::Sync { conflict: Box::new(conflict.clone()) }, at);
        new.linked = true;
        let ix = self.insert_task(new);
        self.projects[p as usize].sync = Some(ix);
        self.refresh(ix);
        touched.task(ix);
    }

    pub(super) fn was_delivered(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        head: CommitId,
        touched: &mut Touched,
    ) {
        let Some(p) = self.project_ix(project) else { return };
        let state = &mut self.projects[p as usize];
        (state.record.delivered, state.record.delivery_blocked) = (Some(head), None);
        let upto = match state.record.head == Some(head) {
            true => state.undelivered.len(),
            false => state.undelivered.iter().rposition(|u| u.is(head)).map_or(0, |n| n + 1),
        };
        for step in state.undelivered.drain(..upto) {
            for ix in step.tasks {
                let task = &mut self.tasks[ix as usize];
                task.git_mut().delivered_at = Some(at);
                task.updated_at = at;
                touched.task(ix);
            }
        }
        self.troubles.remove(&Job::Deliver(project.clone()));
        touched.project(p);
    }

    pub(super) fn delivery_was_blocked(&mut self, project: &ProjectName, reason: &str, touched: &mut Touched) {
        let Some(p) = self.project_ix(project) else { return };
        self.projects[p as usize].record.delivery_blocked = Some(reason.to_owned());
        self.troubles.remove(&Job::Deliver(project.clone()));
        touched.project(p);
    }

    pub(super) fn job_delayed(&mut self, job: &Job, reason: &str, after_ms: u64) {
        let times = self.troubles.get(job).map_or(0, |t| t.times) + 1;
        self.troubles.insert(job.clone(), Trouble { times, reason: reason.to_owned(), waiting: true, after_ms });
    }

    pub(super) fn job_repeated(&mut self, job: &Job, touched: &mut Touched) {
        if let Some(trouble) = self.troubles.get_mut(job) {
            trouble.waiting = false;
        }
        if let Job::Deliver(project) = job
            && let Some(p) = self.project_ix(project)
        {
            self.projects[p as usize].record.delivery_blocked = None;
            touched.project(p);
        }
    }
}

impl Undelivered {
    pub(in crate::engine) fn is(&self, head: CommitId) -> bool {
        self.head == head || self.merge_commit == Some(head)
    }
}

/// The branch never goes back: earlier heads are history.
fn move_head(project: &mut Project, head: CommitId) {
    if project.record.head != Some(head) && !project.past.contains(&head) {
        project.past.extend(project.record.head.replace(head));
    }
}
