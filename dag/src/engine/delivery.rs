//! What DevOps reports about the source: the integration head moved with it, it was brought up to date, it waits for a
//! person, or it has commits that conflict with the integration branch.
//! A report that is late or doubled answers [`Answer::Unchanged`].
//!
//! A conflict with the source blocks no task, so its resolution task is the project's: at most one is open, delivery
//! waits for it, and it keeps its material (docs/decisions/0005).

use std::sync::Arc;

use super::{
    Draft, Engine,
    compose::{bounded_conflict, head as cut, sync_task},
    state::{Project, ProjectIx, TaskIx},
};
use crate::{
    answer::Answer,
    attempt::Conflict,
    command::Job,
    effect::Effect,
    fact::FactKind,
    ids::{CommitId, ProjectName, TaskId},
    record::Kind,
    rejection::Rejection,
};

impl Engine {
    /// Neither the present head nor one that the branch has left.
    pub(super) fn is_news(&self, project: ProjectIx, head: CommitId) -> bool {
        let project = &self.projects[project as usize];
        project.record.head != Some(head) && !project.past.contains(&head)
    }

    pub(super) fn move_head(&self, draft: &mut Draft, project: ProjectIx, head: CommitId) {
        let project = self.projects[project as usize].name().clone();
        draft.fact(FactKind::HeadMoved { project: project.clone(), head });
        draft.effect(Effect::Deliver(project));
    }

    pub(super) fn head_moved(&self, draft: &mut Draft, name: ProjectName, head: CommitId) -> Result<Answer, Rejection> {
        let (ix, project) = self.find_project(&name)?;
        if !project.has_repository() || !self.is_news(ix, head) {
            return Ok(Answer::Unchanged);
        }
        self.move_head(draft, ix, head);
        Ok(Answer::Done)
    }

    pub(super) fn delivered(&self, draft: &mut Draft, name: ProjectName, head: CommitId) -> Result<Answer, Rejection> {
        let (ix, project) = self.find_project(&name)?;
        let unknown = project.has_repository() && self.is_news(ix, head);
        let present = unknown || project.record.head == Some(head);
        let news = match present {
            // A merge can be proven by a head that was delivered before the proof arrived.
            true => !project.undelivered.is_empty() || project.record.delivered != Some(head),
            false => project.undelivered.iter().any(|u| u.is(head)),
        };
        let unblocked = present && project.record.delivery_blocked.is_some();
        // The source has everything without it: it changed its mind, or a person brought both together.
        let moot = project.sync.filter(|&sync| present && !self.is_merging(self.at(sync)));
        if !news && !unblocked && moot.is_none() {
            return Ok(Answer::Unchanged);
        }
        if let Some(sync) = moot {
            self.give_up(draft, sync, "superseded");
        }
        if unknown {
            // What was delivered was the head: the report that it moved was lost.
            draft.fact(FactKind::HeadMoved { project: name.clone(), head });
        } else if project.record.head != Some(head) {
            // A late word about an older head clears what is known of the newer one: that is asked for again.
            draft.effect(Effect::Deliver(name.clone()));
        }
        draft.fact(FactKind::Delivered { project: name, head });
        Ok(Answer::Done)
    }

    pub(super) fn delivery_blocked(
        &self,
        draft: &mut Draft,
        name: ProjectName,
        reason: String,
    ) -> Result<Answer, Rejection> {
        let (_, project) = self.find_project(&name)?;
        let reason = cut(&reason, self.config.reason_bytes).to_owned();
        if project.record.delivery_blocked.as_ref() == Some(&reason) {
            return Ok(Answer::Unchanged);
        }
        draft.fact(FactKind::DeliveryBlocked { project: name, reason });
        Ok(Answer::Done)
    }

    /// One resolution task for a conflict with the source, whatever the source adds while it is open: a result that is
    /// on its way stays valid, and what came later is merged, or conflicts, after it. One that a person gave up comes
    /// back only when a person asks for the delivery again.
    pub(super) fn source_conflicted(
        &self,
        draft: &mut Draft,
        name: ProjectName,
        conflict: Conflict,
    ) -> Result<Answer, Rejection> {
        let (_, project) = self.find_project(&name)?;
        let given_up =
            || project.rejected.iter().any(|&ix| self.syncs(ix).is_some_and(|c| c.theirs == conflict.theirs));
        if !project.has_repository() || project.record.delivery_blocked.is_some() && given_up() {
            return Ok(Answer::Unchanged);
        }
        if let Some((id, conflict)) = project.sync.and_then(|ix| Some((&self.at(ix).spec.id, self.syncs(ix)?))) {
            return self.delivery_blocked(draft, name, waits_for(project, id, conflict));
        }
        let conflict = bounded_conflict(conflict, self.config.conflict_paths);
        let like = project.tasks.iter().map(|&ix| &*self.at(ix).spec).max_by_key(|spec| spec.timeout_ms);
        let resolution = Arc::new(sync_task(&project.record.spec, like, &conflict, &project.by_id));
        let reason = waits_for(project, &resolution.id, &conflict);
        let conflict = Box::new(conflict);
        draft.fact(FactKind::SourceConflicted { project: name.clone(), resolution, conflict });
        self.delivery_blocked(draft, name, reason)?;
        Ok(Answer::Done)
    }

    /// Delivery has nothing to wait for any more, and only a person can say how it goes on.
    pub(super) fn sync_given_up(&self, draft: &mut Draft, project: &Project, ix: TaskIx) {
        let Some(conflict) = self.syncs(ix).filter(|_| project.sync == Some(ix)) else { return };
        let reason = format!(
            "`{}` was given up, which was to bring devstack's commits and those of the source's `{}` together; resume \
             the project for another, or merge them by hand; they conflict in {}",
            self.at(ix).spec.id,
            project.record.spec.integration,
            conflict.paths.join(", "),
        );
        let reason = cut(&reason, self.config.reason_bytes).to_owned();
        draft.fact(FactKind::DeliveryBlocked { project: project.name().clone(), reason });
    }

    /// A person says that they have seen to what was in the way of the delivery.
    pub(super) fn deliver_again(&self, draft: &mut Draft, project: &Project) {
        let job = Job::Deliver(project.name().clone());
        if project.record.delivery_blocked.is_some() || self.troubles.get(&job).is_some_and(|t| t.waiting) {
            draft.effects.extend(self.job_effect(&job));
            draft.fact(FactKind::JobRepeated { job });
        }
    }

    /// The material, of a task that resolves a conflict with the source.
    fn syncs(&self, ix: TaskIx) -> Option<&Conflict> {
        match &self.at(ix).kind {
            Kind::Sync { conflict } => Some(conflict),
            _ => None,
        }
    }
}

fn waits_for(project: &Project, resolution: &TaskId, conflict: &Conflict) -> String {
    format!("it waits for `{resolution}`: {}", clash(project, conflict))
}

pub(super) fn clash(project: &Project, conflict: &Conflict) -> String {
    let (branch, paths) = (&project.record.spec.integration, conflict.paths.join(", "));
    format!("commits of the source's `{branch}` conflict with devstack's in {paths}")
}
