//! Commands of users: stop, retry, reject, approve, request changes, resolve, pause, cancel.
//! Deliberately absent: plans (`submit`).

use super::{
    Draft, Engine,
    compose::head as cut,
    state::{Task, TaskIx},
};
use crate::{
    answer::Answer,
    attempt::{Feedback, Outcome, Start},
    effect::Effect,
    fact::{FactKind, Place},
    ids::{AttemptId, CommitId, ProjectName, TaskRef, Text},
    plan::Executor,
    record::{BlockedReason, Status},
    rejection::Rejection,
};

impl Engine {
    pub(super) fn pause(&self, draft: &mut Draft, name: ProjectName, paused: bool) -> Result<Answer, Rejection> {
        let (_, project) = self.find_project(&name)?;
        if !paused {
            self.deliver_again(draft, project);
        }
        let parked = if paused { Vec::new() } else { self.parked_in(project) };
        for provider in &parked {
            draft.fact(FactKind::ProviderResumed { provider: provider.clone() });
        }
        if project.record.paused != paused {
            draft.fact(FactKind::ProjectPaused { project: name, paused });
        }
        Ok(if draft.facts.is_empty() { Answer::Unchanged } else { Answer::Done })
    }

    pub(super) fn stop_task(&self, draft: &mut Draft, name: TaskRef) -> Result<Answer, Rejection> {
        let (_, task) = self.find_task(&name)?;
        let Some(run) = task.running() else {
            return Err(Rejection::NotRunning { task: name, status: task.status });
        };
        // A second stop is sent again: the first may not have reached the host.
        draft.effect(Effect::StopAttempt { host: run.host.clone(), attempt: run.attempt.clone() });
        if run.stopping {
            return Ok(Answer::Unchanged);
        }
        draft.fact(FactKind::AttemptStopping { attempt: run.attempt.clone() });
        Ok(Answer::Done)
    }

    pub(super) fn retry_task(
        &self,
        draft: &mut Draft,
        name: TaskRef,
        message: Option<Text>,
    ) -> Result<Answer, Rejection> {
        let (ix, task) = self.find_task(&name)?;
        self.refuse_merging(&name, task)?;
        match task.status {
            Status::Blocked if task.blocked_for(BlockedReason::DependencyRejected) => {
                let root = self.rejected_root(ix).unwrap_or(&name.id).clone();
                return Err(Rejection::DependencyRejected { task: name, root });
            }
            Status::Blocked => {
                self.back_to_agent(draft, &name, task)?;
                self.retry_blocked(draft, ix);
            }
            Status::Todo | Status::Testing if task.backoff_ms.is_some() => {
                self.go(draft, ix, Place { status: task.status, ..self.unblocked(task) });
            }
            status => return Err(Rejection::NotRetryable { task: name, status }),
        }
        if let Some(text) = message {
            draft.fact(FactKind::FeedbackGiven { task: name, feedback: vec![Feedback { attempt: 0, text }] });
        }
        Ok(Answer::Done)
    }

    /// A resolution that was assigned to a user goes back to the resolver, if there is one.
    fn back_to_agent(&self, draft: &mut Draft, name: &TaskRef, task: &Task) -> Result<(), Rejection> {
        if task.conflict().is_none() || !task.is_human() {
            return Ok(());
        }
        let resolver = self.project_of(task).record.spec.resolver.clone();
        let executor = resolver.map(Executor::Agent).ok_or_else(|| Rejection::NeedsPerson(name.clone()))?;
        draft.fact(FactKind::ExecutorChanged { task: name.clone(), executor });
        Ok(())
    }

    /// Renews the budget of a BLOCKED task. Results that cannot succeed as they are start afresh: a commit that
    /// conflicts, or that was refused. An open resolution is superseded.
    pub(super) fn retry_blocked(&self, draft: &mut Draft, ix: TaskIx) {
        let task = self.at(ix);
        if let Some(resolution) = task.resolution() {
            self.give_up(draft, resolution, "superseded");
        }
        if task.blocked_for(BlockedReason::Conflict) || task.blocked_for(BlockedReason::Policy) {
            draft.fact(FactKind::WorkDropped { task: self.task_ref(task) });
        }
        self.hold(draft, task, None);
        self.go(draft, ix, self.unblocked(task));
    }

    /// Between intent and outcome the merged content must not change.
    pub(super) fn refuse_merging(&self, name: &TaskRef, task: &Task) -> Result<(), Rejection> {
        match self.is_merging(task) {
            true => Err(Rejection::Merging(name.clone())),
            false => Ok(()),
        }
    }

    /// Whether its merge, or the merge of its resolution, is in flight.
    pub(super) fn is_merging(&self, task: &Task) -> bool {
        task.merging().is_some() || task.resolution().is_some_and(|r| self.at(r).merging().is_some())
    }

    pub(super) fn reject_task(&self, draft: &mut Draft, name: TaskRef, reason: String) -> Result<Answer, Rejection> {
        let (ix, task) = self.find_task(&name)?;
        if task.status.is_terminal() {
            return Err(Rejection::Finished { task: name, status: task.status });
        }
        self.refuse_merging(&name, task)?;
        if let Some(resolution) = task.resolution() {
            self.give_up(draft, resolution, "its blocked task was rejected");
        }
        self.give_up(draft, ix, &reason);
        self.sync_given_up(draft, self.project_of(task), ix);
        if let Some(blocked) = self.blocked_by(task).filter(|&b| self.at(b).resolution() == Some(ix)) {
            let why = format!("its resolution task `{}` was rejected", task.spec.id);
            self.block(draft, blocked, BlockedReason::NeedsHuman, &why);
        }
        Ok(Answer::Done)
    }

    /// Sets REJECTED; a running attempt is ended and fenced.
    pub(super) fn give_up(&self, draft: &mut Draft, ix: TaskIx, why: &str) {
        let task = self.at(ix);
        self.end_running(draft, task);
        let rejected = Some(cut(why, self.config.reason_bytes).into());
        self.go(draft, ix, Place { rejected, ..self.place(task, Status::Rejected) });
    }

    /// Ends a running attempt at once: its later report is fenced.
    fn end_running(&self, draft: &mut Draft, task: &Task) {
        let Some(run) = task.running() else { return };
        let attempt = run.attempt.clone();
        draft.effect(Effect::StopAttempt { host: run.host.clone(), attempt: attempt.clone() });
        let (outcome, charged) = (Outcome::Stopped, false);
        draft.fact(FactKind::AttemptEnded { attempt, outcome, charged, commit: None, usage: None });
    }

    pub(super) fn cancel_plan(
        &self,
        draft: &mut Draft,
        name: ProjectName,
        plan: Option<u32>,
    ) -> Result<Answer, Rejection> {
        let (_, project) = self.find_project(&name)?;
        if let Some(number) = plan.filter(|&n| !project.plans.iter().any(|p| p.number == n)) {
            return Err(Rejection::UnknownPlan(name, number));
        }
        let covers = |number: u32| plan.is_none_or(|only| only == number);
        let mut rejected = 0;
        let mut merging = Vec::new();
        for &ix in &project.tasks {
            let task = self.at(ix);
            if task.status.is_terminal() || !covers(task.plan) {
                continue;
            }
            if self.is_merging(task) {
                merging.push(self.task_ref(task));
                continue;
            }
            self.give_up(draft, ix, "cancelled");
            self.sync_given_up(draft, project, ix);
            rejected += 1;
        }
        for record in project.plans.iter().filter(|p| covers(p.number) && !p.cancelled) {
            draft.fact(FactKind::PlanCancelled { project: name.clone(), plan: record.number });
        }
        Ok(Answer::Cancelled { rejected, merging })
    }

    /// REVIEW → APPROVED; or completes a manual task without a commit.
    pub(super) fn approve_task(&self, draft: &mut Draft, name: TaskRef) -> Result<Answer, Rejection> {
        let (ix, task) = self.find_task(&name)?;
        let by_person = task.is_human() && (!self.project_of(task).has_repository() || task.spec.allow_empty);
        match task.status {
            Status::Review => {
                self.hold(draft, task, None);
                self.go(draft, ix, self.place(task, Status::Approved));
            }
            Status::Todo if by_person => {
                self.refuse_open_dependencies(&name, task)?;
                self.complete(draft, ix, None, None);
            }
            status => return Err(Rejection::NotInReview { task: name, status }),
        }
        Ok(Answer::Done)
    }

    fn refuse_open_dependencies(&self, name: &TaskRef, task: &Task) -> Result<(), Rejection> {
        match task.waiting {
            0 => Ok(()),
            missing => Err(Rejection::DependenciesOpen { task: name.clone(), missing }),
        }
    }

    /// REVIEW → TODO with a renewed budget: a user wants more work.
    pub(super) fn request_changes(&self, draft: &mut Draft, name: TaskRef, message: Text) -> Result<Answer, Rejection> {
        let (ix, task) = self.find_task(&name)?;
        if task.status != Status::Review {
            return Err(Rejection::NotInReview { task: name, status: task.status });
        }
        self.hold(draft, task, None);
        self.go(draft, ix, self.unblocked(task));
        draft.fact(FactKind::FeedbackGiven { task: name, feedback: vec![Feedback { attempt: 0, text: message }] });
        Ok(Answer::Done)
    }

    /// A user's result counts as an attempt that exited 0 and takes the same steps: checks, review, merge.
    pub(super) fn resolve_task(
        &self,
        draft: &mut Draft,
        name: TaskRef,
        number: u32,
        commit: CommitId,
    ) -> Result<Answer, Rejection> {
        let (ix, task) = self.to_resolve(&name)?;
        if !self.project_of(task).has_repository() {
            return Err(Rejection::NoRepository(name));
        }
        self.refuse_merging(&name, task)?;
        self.refuse_open_dependencies(&name, task)?;
        let next = self.next_number(task);
        if number != next {
            return Err(Rejection::AttemptMoved { task: name, given: number, next });
        }
        self.end_running(draft, task);
        let head = self.project_of(task).record.head.unwrap_or(commit);
        let start = match task.conflict() {
            Some(conflict) => Start::Merging { base: head, theirs: conflict.theirs },
            None => Start::Commit { base: head, tip: head },
        };
        let attempt = AttemptId { task: self.task_ref(task), number };
        draft.fact(FactKind::ResultGiven { attempt, start, commit });
        // A user acted: later failures (failing checks) have a renewed budget.
        self.after_work(draft, ix, (Some(commit), None), self.unblocked(task));
        Ok(Answer::Done)
    }

    /// The task for a user's result: the named one, or the resolution task of a named conflict.
    pub(super) fn to_resolve(&self, name: &TaskRef) -> Result<(TaskIx, &Task), Rejection> {
        let (ix, task) = self.find_task(name)?;
        let ix = task.resolution().unwrap_or(ix);
        let target = self.at(ix);
        let open = match target.conflict() {
            Some(_) => matches!(target.status, Status::Todo | Status::Wip | Status::Blocked),
            None => {
                let stuck = target.blocked_for(BlockedReason::DependencyRejected);
                target.is_human() && matches!(target.status, Status::Todo | Status::Blocked) && !stuck
            }
        };
        match open {
            true => Ok((ix, target)),
            false => Err(Rejection::NotResolvable { task: name.clone(), status: task.status }),
        }
    }
}
