//! Updates derived state after a change: ready sets, open classes, queues and tasks to prepare, counts by status. Each
//! function is idempotent and handles one object only.

use super::{
    Engine,
    state::{Class, ClassIx, Host, ProjectIx, Task, TaskIx},
};
use crate::{
    attempt::Stage, ids::HostName, merge_queue, placement::Needs, plan::Priority, ready::Key, record::Status,
    room::Fits,
};

impl Engine {
    /// The class whose slots a task uses.
    pub(crate) fn class_of(&self, task: &Task) -> Option<ClassIx> {
        let project = self.project_of(task);
        project.classes.get(project.role_of(&task.spec.executor)?).copied()
    }

    /// The definition of the ready set.
    pub(crate) fn ready_key(&self, ix: TaskIx) -> Option<(ClassIx, Key)> {
        let task = self.at(ix);
        let stage = task.startable()?;
        Some((self.class_of(task)?, Key::new(task.spec.priority, stage, task.remaining, ix)))
    }

    /// The definition of `unprepared`.
    pub(crate) fn must_prepare(&self, ix: TaskIx) -> bool {
        let task = self.at(ix);
        task.status == Status::Testing && task.candidate().is_none() && !task.preparing && task.harvested().is_some()
    }

    /// The definition of `open`.
    pub(crate) fn is_open(&self, ix: ClassIx) -> bool {
        let class = &self.classes[ix as usize];
        let paused = self.projects[class.project as usize].record.paused;
        !paused && (class.busy.len() as u32) < class.spec.count && self.next_of(ix).is_some()
    }

    /// The next task of a class, given a slot: while its work is held, only checks.
    pub(crate) fn next_of(&self, ix: ClassIx) -> Option<Key> {
        let ready = &self.classes[ix as usize].ready;
        let first = ready.first()?;
        match first.stage() {
            Stage::Work if self.hold_of(ix).is_some() => ready.first_check(),
            _ => Some(first),
        }
    }

    pub(super) fn refresh(&mut self, ix: TaskIx) {
        let (old, new) = (self.at(ix).ready, self.ready_key(ix));
        if old != new {
            let task = &mut self.tasks[ix as usize];
            task.ready = new;
            if old.is_none() {
                task.ready_since = self.time;
            }
            if let Some((class, key)) = old {
                self.classes[class as usize].ready.remove(key);
                self.refresh_class(class);
            }
            if let Some((class, key)) = new {
                self.classes[class as usize].ready.insert(key);
                self.refresh_class(class);
            }
        }
        if self.projects[self.at(ix).project as usize].has_repository() {
            match self.must_prepare(ix) {
                true => self.unprepared.insert(ix),
                false => self.unprepared.remove(&ix),
            };
            self.refresh_queue(self.at(ix).project);
        }
    }

    pub(super) fn refresh_class(&mut self, ix: ClassIx) {
        match self.is_open(ix) {
            true => self.open.insert(ix),
            false => self.open.remove(&ix),
        };
    }

    /// Updates which hosts can run the attempts of a class.
    pub(super) fn refresh_fits(&mut self, ix: ClassIx) {
        self.classes[ix as usize].fits = self.fits_of(&self.classes[ix as usize]);
    }

    /// The definition of `fits`.
    pub(crate) fn fits_of(&self, class: &Class) -> Fits {
        let mut fits = Fits::default();
        self.hosts.values().for_each(|host| note(&mut fits, class.needs(), host));
        fits
    }

    /// The classes whose attempts a host can run.
    pub(super) fn refresh_fits_of(&mut self, host: &HostName) {
        let Some(host) = self.hosts.get(host) else { return };
        for class in &mut self.classes {
            let mut fits = std::mem::take(&mut class.fits);
            note(&mut fits, class.needs(), host);
            class.fits = fits;
        }
    }

    pub(super) fn refresh_queue(&mut self, ix: ProjectIx) {
        match merge_queue::next(&self.projects[ix as usize], &self.tasks) {
            merge_queue::Next::Wait => self.queues.remove(&ix),
            _ => self.queues.insert(ix),
        };
    }

    /// Sets a status and updates the counts.
    pub(super) fn set_status(&mut self, ix: TaskIx, status: Status) {
        let task = &mut self.tasks[ix as usize];
        let counts = &mut self.projects[task.project as usize].counts;
        counts[task.status as usize] -= 1;
        counts[status as usize] += 1;
        task.status = status;
    }

    /// A task's position in the merge queue.
    pub(crate) fn queue_key(&self, ix: TaskIx) -> Option<(Priority, crate::ids::Timestamp, TaskIx)> {
        let task = self.at(ix);
        Some((task.spec.priority, task.approved_at()?, ix))
    }

    /// Removes a task from the merge queue.
    pub(super) fn leave_queue(&mut self, ix: TaskIx) {
        let Some(key) = self.queue_key(ix) else { return };
        let task = &mut self.tasks[ix as usize];
        task.git_mut().approved_at = None;
        let project = &mut self.projects[task.project as usize];
        project.queue.remove(&key);
        if project.front == Some(ix) {
            project.front = None;
        }
    }
}

fn note(fits: &mut Fits, needs: Needs<'_>, host: &Host) {
    let able = needs.met(host);
    fits.able.set(host.ix, able);
    fits.at_once.set(host.ix, able && needs.image_on(host));
}
