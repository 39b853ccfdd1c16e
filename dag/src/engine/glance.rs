//! One pass over everything, for overviews: what moved lately, and what ended lately. Nothing is built but the result.
//! Deliberately absent: whole records of what is not shown.

use super::{Engine, state::Project};
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
        known.tasks.iter().map(|&ix| {
            let task = self.at(ix);
            Spot {
                project: known.name(),
                id: &task.spec.id,
                title: &task.spec.title,
                status: task.status,
                updated_at: task.updated_at,
                newest: task.history.last(),
            }
        })
    }

    /// Every kept attempt that ended at this time or later, in no order of time.
    pub fn ended_since(&self, since: Timestamp) -> impl Iterator<Item = &AttemptRecord> {
        let attempts = self.tasks.iter().flat_map(|task| &task.history);
        attempts.filter(move |attempt| attempt.ended_at.is_some_and(|at| at >= since))
    }
}
