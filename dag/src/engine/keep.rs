//! What must be kept outside the records, and what was kept for long enough.
//! Deliberately absent: removal (the shell removes whatever is not named here).

use std::collections::{BTreeMap, HashSet};

use super::Engine;
use crate::ids::{BlobId, ProjectName, TaskId, Text, Timestamp};

impl Engine {
    /// Every blob that a record names. Facts may name others: facts are history, and no text is read through them.
    pub fn blobs(&self) -> HashSet<BlobId> {
        let texts = self.tasks.iter().flat_map(|task| {
            let feedback = task.feedback.iter().map(|entry| &entry.text);
            let conflict = task.conflict().map(|conflict| &conflict.text);
            std::iter::once(&task.spec.prompt).chain(feedback).chain(conflict).chain(task.summary.as_deref())
        });
        let templates = self.projects.iter().filter_map(|project| project.record.spec.prompt_template.as_ref());
        texts.chain(templates).filter_map(blob).collect()
    }

    /// Finished tasks of a project without any event since then, proof and delivery included, and their newest attempt:
    /// the refs of attempts 1 to that attempt may be dropped.
    pub fn finished_before(&self, project: &ProjectName, then: Timestamp) -> BTreeMap<TaskId, u32> {
        let tasks = self.known(project).map_or(&[][..], |project| &project.tasks).iter().map(|&ix| self.at(ix));
        let over = tasks.filter(|task| task.status.is_terminal() && task.attempts > 0 && task.updated_at < then);
        over.map(|task| (task.spec.id.clone(), task.attempts)).collect()
    }
}

fn blob(text: &Text) -> Option<BlobId> {
    match text {
        Text::Inline(_) => None,
        Text::Blob(id, _) => Some(*id),
    }
}
