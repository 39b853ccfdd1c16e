//! Submitting a plan: an upsert by task id. Everything is checked first and all problems are reported together; then
//! the changes become facts. An identical resubmission has none.
//! Deliberately absent: linking and paths (`apply` does them once a plan is complete).

mod check;
mod upsert;

use std::sync::Arc;

use super::{Draft, Engine, compose::task_bytes};
use crate::{
    answer::Answer,
    fact::FactKind,
    ids::CommitId,
    plan::{PlanSpec, TaskSpec},
    rejection::{Problem, Rejection},
};
use upsert::Upsert;

impl Engine {
    pub(super) fn submit_plan(
        &self,
        draft: &mut Draft,
        plan: PlanSpec,
        head: Option<CommitId>,
    ) -> Result<Answer, Rejection> {
        let mut problems = Vec::new();
        let existing = self.project_ix(&plan.project.name).map(|ix| &self.projects[ix as usize]);
        self.check_project(&plan, head, existing, &mut problems);
        self.check_tasks(&plan, existing, &mut problems);
        let upsert = Upsert::new(self, &plan, existing, &mut problems);
        if problems.is_empty() {
            self.check_dependencies(&plan, &upsert, existing, &mut problems);
        }
        if !problems.is_empty() {
            return Err(Rejection::Plan(problems));
        }
        let PlanSpec { project: spec, tasks } = plan;
        let project = spec.name.clone();
        if existing.is_none_or(|p| p.record.spec != spec) {
            draft.fact(FactKind::ProjectDescribed { spec, head });
        }
        if let Some(existing) = existing {
            self.deliver_again(draft, existing);
        }
        let (added, updated, retried) = (upsert.added, upsert.updated.len() as u32, upsert.retried.len() as u32);
        let unchanged = tasks.len() as u32 - added - updated - retried;
        let plans = existing.map_or(0, |p| p.record.plans);
        if added + updated + retried == 0 && plans > 0 {
            return Ok(Answer::Plan { project, number: plans, added, updated, retried, unchanged });
        }
        let number = plans + 1;
        let mut new = Vec::new();
        for (n, spec) in tasks.into_iter().enumerate() {
            match upsert.existing(n) {
                None => new.push(Arc::new(spec)),
                Some(ix) if upsert.changes(ix) => {
                    if upsert.retried.contains(&ix) {
                        self.retry_blocked(draft, ix);
                    }
                    draft.fact(FactKind::TaskUpdated { project: project.clone(), spec: Arc::new(spec) });
                }
                Some(_) => {}
            }
        }
        let family = upsert.family.unwrap_or(number);
        for tasks in self.chunks(new) {
            draft.fact(FactKind::TasksAdded { project: project.clone(), plan: number, tasks });
        }
        let changed = updated + retried;
        draft.fact(FactKind::PlanSubmitted { project: project.clone(), plan: number, family, added, updated: changed });
        Ok(Answer::Plan { project, number, added, updated, retried, unchanged })
    }

    /// In order, each small enough for one fact.
    fn chunks(&self, tasks: Vec<Arc<TaskSpec>>) -> Vec<Vec<Arc<TaskSpec>>> {
        let mut chunks = Vec::new();
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for task in tasks {
            let size = task_bytes(&task);
            if bytes + size > self.config.fact_bytes && !chunk.is_empty() {
                chunks.push(std::mem::take(&mut chunk));
                bytes = 0;
            }
            bytes += size;
            chunk.push(task);
        }
        chunks.extend((!chunk.is_empty()).then_some(chunk));
        chunks
    }
}

/// Problems collected before checking stops: a generated plan may have the same mistake in every task.
const PROBLEMS_MAX: usize = 1000;

fn add(problems: &mut Vec<Problem>, problem: Problem) {
    if problems.len() < PROBLEMS_MAX {
        problems.push(problem);
    }
}
