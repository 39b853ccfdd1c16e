//! What a plan means for existing tasks: added, updated, retried, left unchanged, or refused.

use std::collections::HashSet;

use super::add;
use crate::{
    engine::{
        Engine,
        state::{Project, TaskIx},
    },
    plan::PlanSpec,
    record::{BlockedReason, Status},
    rejection::Problem,
};

/// The comparison of a plan with a project.
#[derive(Debug, Default)]
pub(super) struct Upsert {
    /// By position in the plan; empty for a new project.
    existing: Vec<Option<TaskIx>>,
    pub(super) added: u32,
    pub(super) updated: HashSet<TaskIx>,
    pub(super) retried: HashSet<TaskIx>,
    /// The family of the plans that it shares tasks with.
    pub(super) family: Option<u32>,
}

impl Upsert {
    pub(super) fn new(
        engine: &Engine,
        plan: &PlanSpec,
        project: Option<&Project>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut upsert = Self::default();
        let Some(project) = project else {
            upsert.added = plan.tasks.len() as u32;
            return upsert;
        };
        let mut shared: HashSet<u32> = HashSet::new();
        for spec in &plan.tasks {
            let ix = project.by_id.get(&spec.id).copied();
            upsert.existing.push(ix);
            let Some(ix) = ix else {
                upsert.added += 1;
                continue;
            };
            let task = engine.at(ix);
            if task.conflict().is_some() {
                add(problems, Problem::ResolutionId(spec.id.clone()));
                continue;
            }
            shared.insert(family_of(project, task.plan));
            if *task.spec == *spec {
                continue;
            }
            let untouched = task.attempts == 0
                && (task.status == Status::Todo || task.blocked_for(BlockedReason::DependencyRejected));
            match task.status {
                _ if untouched => _ = upsert.updated.insert(ix),
                Status::Blocked if engine.is_merging(task) => {
                    add(problems, Problem::ChangedMerging(spec.id.clone()));
                }
                Status::Blocked => _ = upsert.retried.insert(ix),
                status => add(problems, Problem::Changed { task: spec.id.clone(), status }),
            }
        }
        upsert.family = shared.iter().min().copied();
        refuse_removals(engine, plan, project, &shared, problems);
        upsert
    }

    /// The existing task for the plan's task at this position.
    pub(super) fn existing(&self, position: usize) -> Option<TaskIx> {
        self.existing.get(position).copied().flatten()
    }

    pub(super) fn changes(&self, ix: TaskIx) -> bool {
        self.updated.contains(&ix) || self.retried.contains(&ix)
    }
}

fn family_of(project: &Project, plan: u32) -> u32 {
    // Plans are numbered from 1 without gaps.
    project.plans.get(plan as usize - 1).map_or(plan, |p| p.family)
}

/// A plan that shares a task with earlier submissions must contain all their tasks, except rejected ones.
fn refuse_removals(
    engine: &Engine,
    plan: &PlanSpec,
    project: &Project,
    shared: &HashSet<u32>,
    problems: &mut Vec<Problem>,
) {
    if shared.is_empty() {
        return;
    }
    let submitted: HashSet<&str> = plan.tasks.iter().map(|t| t.id.as_str()).collect();
    for &ix in &project.tasks {
        let task = engine.at(ix);
        if task.conflict().is_none()
            && task.status != Status::Rejected
            && shared.contains(&family_of(project, task.plan))
            && !submitted.contains(task.spec.id.as_str())
        {
            add(problems, Problem::Removed(task.spec.id.clone()));
        }
    }
}
