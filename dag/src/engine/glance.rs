//! One pass over everything, for overviews: what changed recently, and what ended recently. Builds nothing but the
//! result.
//! Deliberately absent: whole records of tasks that are not shown.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Engine,
    state::{Project, Task, TaskIx},
};
use crate::{
    ids::{ProjectName, TaskId, TaskRef, Timestamp},
    record::{AttemptRecord, Status},
};

/// A summary of a task, for selections among many.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    /// Its project.
    pub project: &'a ProjectName,
    /// Its id there.
    pub id: &'a TaskId,
    /// One line for humans.
    pub title: &'a str,
    /// Its status.
    pub status: Status,
    /// Ids of its dependencies.
    pub dependencies: &'a [TaskId],
    /// The blocked task that it unblocks.
    pub resolves: Option<&'a TaskId>,
    /// When anything last changed.
    pub updated_at: Timestamp,
    /// Its newest attempt.
    pub newest: Option<&'a AttemptRecord>,
}

impl Spot<'_> {
    /// The full name.
    pub fn task(&self) -> TaskRef {
        TaskRef { project: self.project.clone(), id: self.id.clone() }
    }
}

impl Engine {
    /// Every task of a project, or of all, by project and in the order of submission.
    pub fn spots(&self, project: Option<&ProjectName>) -> impl Iterator<Item = Spot<'_>> {
        let all = self.by_name.values().map(|&ix| &self.projects[ix as usize]);
        let chosen = all.filter(move |known| project.is_none_or(|name| known.name() == name));
        chosen.flat_map(|known| self.spots_of(known))
    }

    fn spots_of<'a>(&'a self, known: &'a Project) -> impl Iterator<Item = Spot<'a>> {
        known.tasks.iter().map(|&ix| spot(known, self.at(ix)))
    }

    /// A task with its ancestors, descendants and their resolution tasks, in the order of submission; the nearest
    /// `most` of them if there are more. `None`: there is no task of this name. The cost is proportional to the result.
    pub fn way(&self, task: &TaskRef, most: usize) -> Option<Vec<Spot<'_>>> {
        let start = self.ix(task)?;
        let mut found = BTreeSet::from([start]);
        // Ancestors of descendants are not included: each direction continues by itself.
        let mut open = VecDeque::from([(start, true), (start, false)]);
        while let Some((at, backwards)) = open.pop_front() {
            let task = self.at(at);
            let (next, resolution): (&[TaskIx], _) =
                if backwards { (&task.deps, None) } else { (&task.dependents, task.resolution()) };
            for &near in next.iter().chain(&resolution) {
                if found.len() < most && found.insert(near) {
                    open.push_back((near, backwards));
                }
            }
        }
        let known = self.known(&task.project)?;
        Some(found.into_iter().map(|ix| spot(known, self.at(ix))).collect())
    }

    /// Every kept attempt that ended at this time or later, in no particular order.
    pub fn ended_since(&self, since: Timestamp) -> impl Iterator<Item = &AttemptRecord> {
        let attempts = self.tasks.iter().flat_map(|task| &task.history);
        attempts.filter(move |attempt| attempt.ended_at.is_some_and(|at| at >= since))
    }
}

fn spot<'a>(known: &'a Project, task: &'a Task) -> Spot<'a> {
    Spot {
        project: known.name(),
        id: &task.spec.id,
        title: &task.spec.title,
        status: task.status,
        dependencies: &task.spec.dependencies,
        resolves: task.kind.resolves(),
        updated_at: task.updated_at,
        newest: task.history.last(),
    }
}
