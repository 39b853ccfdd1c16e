//! Facts about the positions of tasks and their feedback.

use std::sync::Arc;

use crate::{
    attempt::Feedback,
    engine::{
        Engine,
        compose::trim_feedback,
        state::{Git, TaskIx},
        touched::Touched,
    },
    fact::Place,
    ids::{CommitId, TaskId, TaskRef, Timestamp},
    plan::Executor,
    record::Status,
};

impl Engine {
    pub(super) fn task_moved(&mut self, at: Timestamp, task: &TaskRef, place: &Place, touched: &mut Touched) {
        let Some(ix) = self.ix(task) else { return };
        let state = &mut self.tasks[ix as usize];
        state.blocked = place.blocked.clone().map(Box::new);
        state.rejected = place.rejected.clone();
        state.backoff_ms = place.backoff_ms;
        if place.charged < state.charged {
            // A renewed budget.
            state.stalls = 0;
        }
        (state.charged, state.uncharged, state.limited) = (place.charged, place.uncharged, place.limited);
        state.updated_at = at;
        state.preparing = false;
        let project = state.project;
        let was = state.status;
        self.set_status(ix, place.status);
        match place.status {
            Status::Approved if self.at(ix).approved_at().is_none() => {
                let state = &mut self.tasks[ix as usize];
                state.git_mut().approved_at = Some(at);
                let key = (state.spec.priority, at, ix);
                self.projects[project as usize].queue.insert(key);
            }
            // The front of the queue, tested on a newer head: it keeps its place.
            Status::Approved | Status::Testing => {}
            Status::Rejected if was != Status::Rejected => {
                self.leave_queue(ix);
                self.projects[project as usize].rejected.push(ix);
                self.recheck.insert(project);
                self.resolution_over(ix);
            }
            _ => self.leave_queue(ix),
        }
        self.refresh(ix);
        touched.task(ix);
    }

    /// A resolution task that has ended is detached from its blocked task or its project.
    fn resolution_over(&mut self, ix: TaskIx) {
        let project = self.at(ix).project;
        let sync = &mut self.projects[project as usize].sync;
        *sync = sync.filter(|&sync| sync != ix);
        let Some(blocked) = self.blocked_by(self.at(ix)) else { return };
        if let Some(git) = self.tasks[blocked as usize].git.as_mut().filter(|g| g.resolution == Some(ix)) {
            git.resolution = None;
        }
    }

    pub(super) fn feedback_given(
        &mut self,
        at: Timestamp,
        task: &TaskRef,
        feedback: &[Feedback],
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(task) else { return };
        let task = &mut self.tasks[ix as usize];
        task.feedback.extend(feedback.iter().cloned());
        trim_feedback(&mut task.feedback, self.config.feedback_kept, self.config.feedback_bytes);
        task.updated_at = at;
        touched.task(ix);
    }

    pub(super) fn work_dropped(&mut self, at: Timestamp, task: &TaskRef, touched: &mut Touched) {
        let Some(ix) = self.ix(task) else { return };
        let task = &mut self.tasks[ix as usize];
        if let Some(git) = &mut task.git {
            (git.harvested, git.candidate) = (None, None);
        }
        task.updated_at = at;
        self.refresh(ix);
        touched.task(ix);
    }

    pub(super) fn task_held(&mut self, at: Timestamp, task: &TaskRef, why: Option<&str>, touched: &mut Touched) {
        let Some(ix) = self.ix(task) else { return };
        let task = &mut self.tasks[ix as usize];
        task.held = why.map(Into::into);
        task.updated_at = at;
        touched.task(ix);
    }

    pub(super) fn executor_changed(
        &mut self,
        at: Timestamp,
        task: &TaskRef,
        executor: &Executor,
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(task) else { return };
        let task = &mut self.tasks[ix as usize];
        Arc::make_mut(&mut task.spec).executor = executor.clone();
        task.updated_at = at;
        self.refresh(ix);
        touched.task(ix);
    }

    pub(super) fn task_completed(
        &mut self,
        at: Timestamp,
        task: &TaskRef,
        merge_commit: Option<CommitId>,
        resolved_by: Option<&TaskId>,
        touched: &mut Touched,
    ) {
        let Some(ix) = self.ix(task) else { return };
        if self.at(ix).status == Status::Completed {
            return;
        }
        self.leave_queue(ix);
        self.set_status(ix, Status::Completed);
        let state = &mut self.tasks[ix as usize];
        (state.blocked, state.backoff_ms, state.updated_at) = (None, None, at);
        (state.uncharged, state.limited, state.preparing) = (0, 0, false);
        // Its feedback is for attempts that never come: dropping it saves memory for a hundred thousand finished tasks.
        state.feedback = Vec::new();
        if merge_commit.is_some() || resolved_by.is_some() || state.git.is_some() {
            let git: &mut Git = state.git_mut();
            (git.merge_commit, git.resolved_by) = (merge_commit, resolved_by.cloned());
            (git.candidate, git.resolution) = (None, None);
        }
        if let (Some(commit), project) = (merge_commit, &mut self.projects[state.project as usize])
            && let Some(step) = project.undelivered.iter_mut().rev().find(|u| u.merge_commit == Some(commit))
        {
            step.tasks.push(ix);
        }
        self.resolution_over(ix);
        let dependents = std::mem::take(&mut self.tasks[ix as usize].dependents);
        for &dependent in &dependents {
            let waiting = &mut self.tasks[dependent as usize].waiting;
            *waiting -= 1;
            if *waiting == 0 {
                self.refresh(dependent);
            }
        }
        self.tasks[ix as usize].dependents = dependents;
        self.refresh(ix);
        touched.task(ix);
    }
}
