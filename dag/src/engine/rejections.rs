//! Which tasks cannot run because a direct or indirect dependency was rejected. Each of them is marked and names the
//! rejected root: a task that waits for something that never comes must not look as if it would run. This scans a whole
//! project, so it runs only after a rejection or a plan.

use std::collections::HashMap;

use super::{
    Draft, Engine,
    state::{ProjectIx, TaskIx},
};
use crate::{
    fact::Place,
    ids::TaskId,
    record::{BlockedReason, Status},
};

impl Engine {
    pub(super) fn recheck_rejections(&self, draft: &mut Draft, project: ProjectIx) {
        let project = &self.projects[project as usize];
        let roots = self.below_rejected(project.rejected.clone());
        for &ix in &project.tasks {
            let task = self.at(ix);
            match (roots.get(&ix), task.status) {
                (Some(&root), Status::Todo) => {
                    let why = format!("depends on `{}`, which is REJECTED", self.at(root).spec.id);
                    let blocked = Some((BlockedReason::DependencyRejected, why.into()));
                    let place = Place { blocked, ..self.place(task, Status::Blocked) };
                    self.go(draft, ix, place);
                }
                (None, Status::Blocked) if task.blocked_for(BlockedReason::DependencyRejected) => {
                    self.go(draft, ix, self.place(task, Status::Todo));
                }
                _ => {}
            }
        }
    }

    /// All dependents of these tasks, with the first root from which each was reached.
    fn below_rejected(&self, rejected: Vec<TaskIx>) -> HashMap<TaskIx, TaskIx> {
        let mut roots = HashMap::new();
        for root in rejected {
            let mut open = vec![root];
            while let Some(ix) = open.pop() {
                for &dependent in &self.at(ix).dependents {
                    if !self.at(dependent).status.is_terminal() && !roots.contains_key(&dependent) {
                        roots.insert(dependent, root);
                        open.push(dependent);
                    }
                }
            }
        }
        roots
    }

    /// The rejected ancestor of this task, if any.
    pub(crate) fn rejected_root(&self, ix: TaskIx) -> Option<&TaskId> {
        let mut seen = std::collections::HashSet::from([ix]);
        let mut open = vec![ix];
        while let Some(ix) = open.pop() {
            for &dep in &self.at(ix).deps {
                match self.at(dep).status {
                    Status::Rejected => return Some(&self.at(dep).spec.id),
                    Status::Completed => {}
                    _ if seen.insert(dep) => open.push(dep),
                    _ => {}
                }
            }
        }
        None
    }
}
