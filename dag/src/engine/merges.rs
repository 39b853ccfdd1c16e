//! DevOps reports about merges: prepared, conflicting, landed or lost; and failed jobs.
//! A late or repeated report answers [`Answer::Unchanged`].

use std::sync::Arc;

use super::{
    Draft, Engine,
    compose::{bounded_conflict, feedback, head as cut, resolution_task},
    returns::{Cause, Wait},
    state::{Task, TaskIx},
};
use crate::{
    answer::Answer,
    attempt::{Conflict, Stage},
    command::Job,
    effect::{Effect, Timer},
    fact::{FactKind, Place},
    ids::{AttemptId, CommitId, MergeId, ProjectName, Text},
    record::{BlockedReason, Status},
    rejection::Rejection,
};

impl Engine {
    /// The task whose merge is being prepared from this attempt.
    fn being_prepared(&self, attempt: &AttemptId) -> Option<(TaskIx, &Task)> {
        let ix = self.ix(&attempt.task)?;
        let task = self.at(ix);
        let newest = task.harvested().is_some_and(|(number, _)| number == attempt.number);
        (task.preparing && newest).then_some((ix, task))
    }

    pub(super) fn merge_prepared(
        &self,
        draft: &mut Draft,
        attempt: AttemptId,
        onto: CommitId,
        candidate: CommitId,
    ) -> Answer {
        let Some((ix, task)) = self.being_prepared(&attempt) else { return Answer::Unchanged };
        let project = self.project_of(task);
        let news = self.is_news(task.project, onto);
        if news {
            // DevOps saw a head that was not reported yet, or whose report was lost.
            self.move_head(draft, task.project, onto);
        }
        draft.fact(FactKind::MergePrepared { attempt, onto, candidate });
        match task.status {
            Status::Testing if !project.has_checks() => {
                self.after_checks(draft, ix, task.held.is_some(), self.place(task, task.status))
            }
            // Checks on an outdated head would prove nothing: the queue asks again.
            Status::Approved if project.has_checks() && (news || project.record.head == Some(onto)) => {
                self.go(draft, ix, self.place(task, Status::Testing));
            }
            _ => {}
        }
        Answer::Done
    }

    pub(super) fn merge_conflicted(&self, draft: &mut Draft, attempt: AttemptId, conflict: Conflict) -> Answer {
        let Some((ix, task)) = self.being_prepared(&attempt) else { return Answer::Unchanged };
        let conflict = bounded_conflict(conflict, self.config.conflict_paths);
        let paths = match conflict.paths.as_slice() {
            [] => "some paths".to_owned(),
            paths => paths.join(", "),
        };
        let name = self.task_ref(task);
        if task.conflict().is_some() {
            // The head moved meanwhile: the same task continues, against the new head.
            let said = format!("the integration branch moved on and the resolution conflicts with it in {paths}");
            let feedback = feedback(attempt.number, cut(&said, Text::INLINE_MAX / 2), &conflict.text);
            draft.fact(FactKind::FeedbackGiven { task: name.clone(), feedback });
            draft.fact(FactKind::WorkDropped { task: name });
            self.send_back(draft, (ix, Status::Todo), &said, (Cause::Alone, Wait::Yes));
            return Answer::Done;
        }
        let project = self.project_of(task);
        let resolver = project.record.spec.resolver.as_ref();
        let resolution = resolution_task(task, resolver, &conflict, &project.by_id);
        let why = format!("conflicts with the integration branch, resolved by `{}`; in {paths}", resolution.id);
        self.block(draft, ix, BlockedReason::Conflict, &why);
        let (resolution, conflict) = (Arc::new(resolution), Box::new(conflict));
        draft.fact(FactKind::ConflictFound { task: name, resolution, conflict });
        Answer::Done
    }

    pub(super) fn merge_refused(&self, draft: &mut Draft, attempt: AttemptId, reason: String) -> Answer {
        let Some((ix, task)) = self.being_prepared(&attempt) else { return Answer::Unchanged };
        let said = format!("Attempt {}: its result was refused: {reason}", attempt.number);
        if task.conflict().is_some() {
            // Markers left or a side dropped: the resolver can do better, from the start.
            draft.fact(FactKind::WorkDropped { task: self.task_ref(task) });
            self.charge(draft, ix, Stage::Work, attempt.number, &said, &Text::empty());
        } else {
            self.block(draft, ix, BlockedReason::Policy, &said);
        }
        Answer::Done
    }

    pub(super) fn merge_landed(
        &self,
        draft: &mut Draft,
        name: ProjectName,
        merge: MergeId,
        head: CommitId,
    ) -> Result<Answer, Rejection> {
        let (_, project) = self.find_project(&name)?;
        let Some((ix, candidate)) = self.in_flight(&name, merge)? else { return Ok(Answer::Unchanged) };
        let project_name = project.name().clone();
        draft.fact(FactKind::MergeLanded { project: project_name.clone(), merge, head });
        let task = self.at(ix);
        self.complete(draft, ix, Some(candidate), None);
        let blocked = self.blocked_by(task).filter(|&b| {
            let blocked = self.at(b);
            blocked.status == Status::Blocked && blocked.resolution() == Some(ix)
        });
        if let Some(blocked) = blocked {
            self.complete(draft, blocked, Some(candidate), Some(task.spec.id.clone()));
        }
        if project.sync == Some(ix) {
            // What the delivery waited for.
            draft.fact(FactKind::JobRepeated { job: Job::Deliver(project_name.clone()) });
        }
        draft.effect(Effect::Deliver(project_name));
        Ok(Answer::Done)
    }

    pub(super) fn merge_lost(
        &self,
        draft: &mut Draft,
        name: ProjectName,
        merge: MergeId,
        head: CommitId,
    ) -> Result<Answer, Rejection> {
        if self.in_flight(&name, merge)?.is_none() {
            return Ok(Answer::Unchanged);
        }
        draft.fact(FactKind::MergeAbandoned { project: name, merge, head });
        Ok(Answer::Done)
    }

    /// The task and merge commit of the merge in flight, if it is this one.
    fn in_flight(&self, name: &ProjectName, merge: MergeId) -> Result<Option<(TaskIx, CommitId)>, Rejection> {
        let (_, project) = self.find_project(name)?;
        let record = project.merges.last().filter(|m| project.merging == Some(merge) && m.id == merge);
        Ok(record.and_then(|m| Some((self.ix(&m.attempt.task)?, m.candidate))))
    }

    pub(super) fn job_failed(&self, draft: &mut Draft, job: Job, reason: String) -> Answer {
        let trouble = self.troubles.get(&job);
        // Its timer is running already: a repeated report must not start the job twice.
        if trouble.is_some_and(|t| t.waiting) || self.job_effect(&job).is_none() {
            return Answer::Unchanged;
        }
        let after_ms = self.config.job_backoff.after(trouble.map_or(0, |t| t.times) + 1);
        let reason = cut(&reason, self.config.reason_bytes).to_owned();
        draft.fact(FactKind::JobDelayed { job: job.clone(), reason, after_ms });
        draft.effect(Effect::SetTimer { timer: Timer::Retry(job), after_ms });
        Answer::Done
    }

    pub(super) fn job_due(&self, draft: &mut Draft, job: Job) -> Answer {
        if !self.troubles.get(&job).is_some_and(|t| t.waiting) {
            return Answer::Unchanged;
        }
        let effect = self.job_effect(&job);
        draft.fact(FactKind::JobRepeated { job });
        draft.effects.extend(effect);
        Answer::Done
    }

    /// The effect that requests a job, while anyone needs it.
    pub(super) fn job_effect(&self, job: &Job) -> Option<Effect> {
        match job {
            Job::Prepare(attempt) => {
                let (_, task) = self.being_prepared(attempt)?;
                Some(Effect::PrepareMerge(self.merge_request(task)?))
            }
            Job::Publish(name, merge) => {
                let project = &self.projects[self.project_ix(name)? as usize];
                let record = project.merges.last().filter(|m| m.id == *merge && project.merging == Some(*merge))?;
                let (project, merge) = (name.clone(), *merge);
                Some(Effect::PublishMerge { project, merge, onto: record.onto, candidate: record.candidate })
            }
            Job::Deliver(name) => {
                let project = &self.projects[self.project_ix(name)? as usize];
                project.has_repository().then(|| Effect::Deliver(name.clone()))
            }
        }
    }

    /// TODO with a renewed budget and no back-off.
    pub(super) fn unblocked(&self, task: &Task) -> Place {
        Place { charged: 0, uncharged: 0, limited: 0, ..self.place(task, Status::Todo) }
    }
}
