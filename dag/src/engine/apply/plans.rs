//! Facts about projects and plans.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    engine::{
        Engine,
        state::{Class, Project, ProjectIx, Task, TaskIx},
        touched::Touched,
    },
    ids::{CommitId, ProjectName, Timestamp},
    plan::{ProjectSpec, TaskSpec},
    ready::Ready,
    record::{Kind, PlanRecord, ProjectRecord, Status},
    room::Fits,
};

impl Engine {
    pub(super) fn project_described(&mut self, spec: &ProjectSpec, head: Option<CommitId>, touched: &mut Touched) {
        let ix = match self.project_ix(&spec.name) {
            Some(ix) => {
                let project = &mut self.projects[ix as usize];
                let new_checks = project.record.spec.checks != spec.checks;
                project.record.spec = spec.clone();
                if new_checks {
                    self.forget_untested(ix, touched);
                }
                ix
            }
            None => self.insert_project(ProjectRecord {
                spec: spec.clone(),
                paused: false,
                head,
                delivered: None,
                delivery_blocked: None,
                plans: 0,
                merges: 0,
                spent: Vec::new(),
            }),
        };
        self.describe_classes(ix);
        touched.project(ix);
    }

    pub(in crate::engine) fn insert_project(&mut self, record: ProjectRecord) -> ProjectIx {
        let ix = self.projects.len() as ProjectIx;
        self.by_name.insert(record.spec.name.clone(), ix);
        self.projects.push(Project::new(record));
        ix
    }

    /// One class per role. A removed role keeps its class: no unfinished task is in it.
    pub(in crate::engine) fn describe_classes(&mut self, ix: ProjectIx) {
        let project = &mut self.projects[ix as usize];
        let mut changed = Vec::new();
        for role in &project.record.spec.roles {
            let class = *project.classes.entry(role.name.clone()).or_insert(self.classes.len() as u32);
            let profile = project.record.spec.profile_of(role).cloned();
            if class as usize == self.classes.len() {
                self.classes.push(Class {
                    project: ix,
                    of: project.record.spec.name.clone(),
                    spec: role.clone(),
                    profile,
                    working: 0,
                    busy: BTreeSet::new(),
                    allowed: role.count,
                    ready: Ready::default(),
                    fits: Fits::default(),
                });
            } else {
                let class = &mut self.classes[class as usize];
                class.allowed = role.count.max(class.busy.len() as u32);
                (class.spec, class.profile) = (role.clone(), profile);
            }
            changed.push(class);
        }
        for class in changed {
            self.refresh_fits(class);
            self.refresh_class(class);
        }
    }

    /// Merges in the queue that passed other checks count as untested again.
    fn forget_untested(&mut self, ix: ProjectIx, touched: &mut Touched) {
        let queue: Vec<TaskIx> = self.projects[ix as usize].queue.iter().map(|&(_, _, task)| task).collect();
        for task in queue {
            let state = &mut self.tasks[task as usize];
            if state.status == Status::Approved && state.merging().is_none() {
                state.git_mut().candidate = None;
                touched.task(task);
            }
        }
        self.refresh_queue(ix);
    }

    pub(super) fn tasks_added(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        plan: u32,
        tasks: &[Arc<TaskSpec>],
        touched: &mut Touched,
    ) {
        let Some(project) = self.project_ix(project) else { return };
        for spec in tasks {
            let ix = self.insert_task(Task::new(project, plan, spec.clone(), Kind::Work, at));
            self.projects[project as usize].unlinked.push(ix);
            touched.task(ix);
        }
    }

    pub(in crate::engine) fn insert_task(&mut self, task: Task) -> TaskIx {
        let ix = self.tasks.len() as TaskIx;
        let project = &mut self.projects[task.project as usize];
        project.tasks.push(ix);
        project.by_id.insert(task.spec.id.clone(), ix);
        project.counts[task.status as usize] += 1;
        self.tasks.push(task);
        ix
    }

    pub(super) fn task_updated(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        spec: &Arc<TaskSpec>,
        touched: &mut Touched,
    ) {
        let Some(project) = self.project_ix(project) else { return };
        let Some(&ix) = self.projects[project as usize].by_id.get(&spec.id) else { return };
        let task = &mut self.tasks[ix as usize];
        let relink = task.spec.dependencies != spec.dependencies;
        task.spec = spec.clone();
        task.updated_at = at;
        if relink {
            // Its earlier result was made on a base that may lack the new dependencies.
            if let Some(git) = &mut task.git {
                (git.harvested, git.candidate) = (None, None);
            }
            self.unlink(ix);
            self.projects[project as usize].unlinked.push(ix);
        }
        self.refresh(ix);
        touched.task(ix);
    }

    pub(super) fn plan_submitted(
        &mut self,
        at: Timestamp,
        project: &ProjectName,
        (number, family): (u32, u32),
        (added, updated): (u32, u32),
        touched: &mut Touched,
    ) {
        let Some(ix) = self.project_ix(project) else { return };
        let state = &mut self.projects[ix as usize];
        state.record.plans = number;
        let project = project.clone();
        state.plans.push(PlanRecord { project, number, family, added, updated, cancelled: false, at });
        for task in std::mem::take(&mut state.unlinked) {
            self.link(task);
        }
        self.measure_paths(ix);
        for n in 0..self.projects[ix as usize].tasks.len() {
            let task = self.projects[ix as usize].tasks[n];
            if !self.at(task).status.is_terminal() {
                self.refresh(task);
            }
        }
        self.recheck.insert(ix);
        touched.project(ix);
        touched.plan(ix, number);
    }

    /// Connects a task with its dependencies, which all exist.
    pub(in crate::engine) fn link(&mut self, ix: TaskIx) {
        let task = self.at(ix);
        let by_id = &self.projects[task.project as usize].by_id;
        let deps: Box<[TaskIx]> = task.spec.dependencies.iter().filter_map(|id| by_id.get(id).copied()).collect();
        let mut waiting = 0;
        for &dep in &deps {
            let dep = &mut self.tasks[dep as usize];
            dep.dependents.push(ix);
            waiting += u32::from(dep.status != Status::Completed);
        }
        let task = &mut self.tasks[ix as usize];
        (task.deps, task.waiting, task.linked) = (deps, waiting, true);
    }

    fn unlink(&mut self, ix: TaskIx) {
        let task = &mut self.tasks[ix as usize];
        task.linked = false;
        for dep in std::mem::take(&mut task.deps) {
            self.tasks[dep as usize].dependents.retain(|&d| d != ix);
        }
    }

    /// The longest remaining path of every task, computed from the ends backwards. A resolution task inherits its
    /// blocked task's path: it unblocks the same dependents.
    pub(in crate::engine) fn measure_paths(&mut self, project: ProjectIx) {
        let tasks = std::mem::take(&mut self.projects[project as usize].tasks);
        // Dependents not yet measured, by position in `tasks`; a task's position is found by its index.
        let first = tasks.first().copied().unwrap_or(0);
        let span = tasks.last().map_or(0, |last| last - first + 1);
        let mut open = vec![0u32; span as usize];
        let mut ends = Vec::new();
        for &ix in &tasks {
            let task = &mut self.tasks[ix as usize];
            task.remaining = 1;
            open[(ix - first) as usize] = task.dependents.len() as u32;
            if task.dependents.is_empty() {
                ends.push(ix);
            }
        }
        while let Some(ix) = ends.pop() {
            let (deps, remaining) = (std::mem::take(&mut self.tasks[ix as usize].deps), self.at(ix).remaining);
            for &dep in &deps {
                let task = &mut self.tasks[dep as usize];
                task.remaining = task.remaining.max(remaining + 1);
                let open = &mut open[(dep - first) as usize];
                *open -= 1;
                if *open == 0 {
                    ends.push(dep);
                }
            }
            self.tasks[ix as usize].deps = deps;
        }
        for &ix in &tasks {
            if let Some(blocked) = self.blocked_by(self.at(ix)) {
                self.tasks[ix as usize].remaining = self.at(blocked).remaining;
            }
        }
        self.projects[project as usize].tasks = tasks;
    }

    pub(super) fn plan_cancelled(&mut self, project: &ProjectName, plan: u32, touched: &mut Touched) {
        let Some(ix) = self.project_ix(project) else { return };
        if let Some(record) = self.projects[ix as usize].plans.iter_mut().find(|p| p.number == plan) {
            record.cancelled = true;
            touched.plan(ix, plan);
        }
    }

    pub(super) fn project_paused(&mut self, project: &ProjectName, paused: bool, touched: &mut Touched) {
        let Some(ix) = self.project_ix(project) else { return };
        let project = &mut self.projects[ix as usize];
        project.record.paused = paused;
        let classes: Vec<u32> = project.classes.values().copied().collect();
        classes.into_iter().for_each(|class| self.refresh_class(class));
        touched.project(ix);
    }
}
