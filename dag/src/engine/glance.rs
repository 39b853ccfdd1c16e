//! One pass over everything, for overviews: what moved lately, and what ended lately. Nothing is built but the result.
//! Deliberately absent: whole records of what is not shown.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Engine,
    state::{Project, Task, TaskIx},
};
use crate::{
    ids::{ProjectName, TaskId, TaskRef, Timestamp},
    record::{AttemptRecord, Status},
};

/// A task, as far as a choice among many needs it.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    /// Its project.
    pub project: &'a ProjectName,
    /// Its id there.
    pub id: &'a TaskId,
    /// One line for people.
    pub title: &'a str,
    /// Where it is.
    pub status: Status,
    /// Ids of tasks that must be done before it.
    pub dependencies: &'a [TaskId],
    /// The blocked task that it frees.
    pub resolves: Option<&'a TaskId>,
    /// When anything last changed.
    pub updated_at: Timestamp,
    /// Its newest attempt.
    pub newest: Option<&'a AttemptRecord>,
}

impl Spot<'_> {
    /// Its full name.
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

    /// A task with what stands before and behind it, and their resolutions, in the order of submission: of more than `most` the
    /// nearest. `None`: there is none of this name. Costs what it gives.
    pub fn way(&self, task: &TaskRef, most: usize) -> Option<Vec<Spot<'_>>> {
        let start = self.ix(task)?;
        let mut found = BTreeSet::from([start]);
        // Ancestors of descendants are no part of it: each direction goes on by itself.
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

    /// Every kept attempt that ended at this time or later, in no order of time.
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
