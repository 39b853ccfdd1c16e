//! Waiting for tasks: have they all ended, or can nothing proceed without a user? (`run --wait`, `task wait`)

use std::collections::HashSet;

use super::{
    Engine,
    state::{ProjectIx, Task, TaskIx},
};
use crate::{command::Job, ids::TaskRef, record::Status};

/// Tasks that somebody waits for. Remembers which have ended and which changed last, so that asking after every step is
/// cheap.
#[derive(Debug, Clone)]
pub struct Watch {
    open: Vec<TaskIx>,
    projects: HashSet<ProjectIx>,
}

impl Engine {
    /// Starts waiting for these tasks; unknown ones are ignored.
    pub fn watch(&self, tasks: &[TaskRef]) -> Watch {
        let open: Vec<TaskIx> = tasks.iter().filter_map(|task| self.ix(task)).collect();
        let projects = open.iter().map(|&ix| self.at(ix).project).collect();
        Watch { open, projects }
    }

    /// Whether every watched task is COMPLETED or REJECTED, or none of them can proceed without a user: no attempt,
    /// back-off, check or merge is due, for them or their dependencies. Merged work is then also in the source, unless
    /// a user must act on that, or the delivery failed and is tried again.
    pub fn settled_watch(&self, watch: &mut Watch) -> bool {
        // Most often the last task is still running, or has ended: the others need no check.
        while let Some(&last) = watch.open.last() {
            if !self.at(last).status.is_terminal() {
                break;
            }
            watch.open.pop();
        }
        if watch.open.last().is_some_and(|&last| self.moves_itself(last)) {
            return false;
        }
        match self.find_moving(&watch.open) {
            None => !watch.projects.iter().any(|&project| self.delivers(project)),
            Some(position) => {
                // The cause may be another task; the watched task that it unblocks is checked first next time.
                let last = watch.open.len() - 1;
                watch.open.swap(position, last);
                false
            }
        }
    }

    /// [`Engine::settled_watch`] once.
    pub fn settled(&self, tasks: &[TaskRef]) -> bool {
        self.settled_watch(&mut self.watch(tasks))
    }

    /// The position of the first task that something due will change.
    fn find_moving(&self, tasks: &[TaskIx]) -> Option<usize> {
        let mut seen = HashSet::new();
        let mut open = Vec::new();
        for (position, &task) in tasks.iter().enumerate() {
            open.push(task);
            while let Some(ix) = open.pop() {
                let task = self.at(ix);
                if task.status.is_terminal() || !seen.insert(ix) {
                    continue;
                }
                if self.moves_itself(ix) {
                    return Some(position);
                }
                open.extend(task.deps.iter().copied());
                open.extend(task.resolution());
            }
        }
        None
    }

    /// Whether something of its own is due: an attempt, a back-off, checks, a merge.
    fn moves_itself(&self, ix: TaskIx) -> bool {
        let task = self.at(ix);
        if task.running().is_some() {
            return true;
        }
        let paused = self.project_of(task).record.paused;
        match task.status {
            Status::Todo | Status::Testing if task.backoff_ms.is_some() => !paused,
            Status::Todo | Status::Testing if task.ready.is_some() => {
                !paused && !self.unplaceable(task) && !self.out_of_money(task)
            }
            Status::Testing => true,
            Status::Approved => !paused || !self.queue_waits(task),
            _ => false,
        }
    }

    /// Whether merges are in flight to the source, or the source's commits into the hub.
    fn delivers(&self, project: ProjectIx) -> bool {
        let project = &self.projects[project as usize];
        if project.sync.is_some_and(|sync| self.find_moving(&[sync]).is_some()) {
            return true;
        }
        let stuck = || {
            let job = Job::Deliver(project.name().clone());
            project.record.delivery_blocked.is_some() || self.troubles.contains_key(&job)
        };
        !project.undelivered.is_empty() && project.record.head != project.record.delivered && !stuck()
    }

    /// Whether the front of its queue waits for checks that no host will run.
    fn queue_waits(&self, task: &Task) -> bool {
        let front = crate::merge_queue::front(self.project_of(task)).map(|ix| self.at(ix));
        front.is_some_and(|front| front.ready.is_some() || front.backoff_ms.is_some())
    }
}
