//! DevOps reports about the source: the integration head moved with it, it was updated, delivery waits for a user, or
//! it has commits that conflict with the integration branch.
//! A late or repeated report answers [`Answer::Unchanged`].
//!
//! A conflict with the source blocks no task, so its resolution task belongs to the project: at most one is open,
//! delivery waits for it, and it keeps its conflict (docs/decisions/0005).

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
    /// Whether it is neither the present head nor an earlier one.
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
            // A head that was delivered before the proof arrived can prove a merge.
            true => !project.undelivered.is_empty() || project.record.delivered != Some(head),
            false => project.undelivered.iter().any(|u| u.is(head)),
        };
        let unblocked = present && project.record.delivery_blocked.is_some();
        // The source has everything without it: the source withdrew its commits, or a user merged both sides.
        let moot = project.sync.filter(|&sync| present && !self.is_merging(self.at(sync)));
        if !news && !unblocked && moot.is_none() {
            return Ok(Answer::Unchanged);
        }
        if let Some(sync) = moot {
            self.give_up(draft, sync, "superseded");
        }
        if unknown {
            // The delivered commit was the head: the report that it moved was lost.
            draft.fact(FactKind::HeadMoved { project: name.clone(), head });
        } else if project.record.head != Some(head) {
            // A late report about an older head clears the state of the newer one, whose delivery is requested again.
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

    /// One resolution task for a conflict with the source, whatever the source adds while it is open: a result in
    /// flight stays valid, and later commits are merged, or conflict, after it. A resolution task that a user rejected
    /// comes back only when a user requests the delivery again.
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

    /// Delivery has nothing to wait for any more, and only a user can decide what happens next.
    pub(super) fn sync_given_up(&self, draft: &mut Draft, project: &Project, ix: TaskIx) {
        let Some(conflict) = self.syncs(ix).filter(|_| project.sync == Some(ix)) else { return };
        let reason = format!(
            "`{}`, which was to merge devstack's commits with those of the source's `{}`, was rejected; resume the \
             project for a new resolution task, or merge by hand; conflicts: {}",
            self.at(ix).spec.id,
            project.record.spec.integration,
            conflict.paths.join(", "),
        );
        let reason = cut(&reason, self.config.reason_bytes).to_owned();
        draft.fact(FactKind::DeliveryBlocked { project: project.name().clone(), reason });
    }

    /// A user has removed what blocked the delivery.
    pub(super) fn deliver_again(&self, draft: &mut Draft, project: &Project) {
        let job = Job::Deliver(project.name().clone());
        if project.record.delivery_blocked.is_some() || self.troubles.get(&job).is_some_and(|t| t.waiting) {
            draft.effects.extend(self.job_effect(&job));
            draft.fact(FactKind::JobRepeated { job });
        }
    }

    /// The conflict of a task that resolves a conflict with the source.
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
