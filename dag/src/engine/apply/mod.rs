//! Applying facts: total and deterministic. A fact about an unknown object changes nothing.
//! Deliberately absent: decisions. Everything that a rule chose is in the fact.

mod attempts;
mod git;
mod hosts;
mod plans;
mod tasks;

use super::{Engine, touched::Touched};
use crate::{
    fact::{Fact, FactKind as F},
    presence::Presence,
};

impl Engine {
    pub(super) fn absorb(&mut self, fact: &Fact, touched: &mut Touched) {
        let at = fact.at;
        self.time = at;
        match &fact.kind {
            F::ProjectDescribed { spec, head } => self.project_described(spec, *head, touched),
            F::TasksAdded { project, plan, tasks } => self.tasks_added(at, project, *plan, tasks, touched),
            F::TaskUpdated { project, spec } => self.task_updated(at, project, spec, touched),
            F::PlanSubmitted { project, plan, family, added, updated } => {
                self.plan_submitted(at, project, (*plan, *family), (*added, *updated), touched);
            }
            F::PlanCancelled { project, plan } => self.plan_cancelled(project, *plan, touched),
            F::ProjectPaused { project, paused } => self.project_paused(project, *paused, touched),
            F::HostQuarantined { host, quarantine } => self.host_quarantined(at, host, quarantine.as_ref(), touched),
            F::HostReported { host, slots, .. } => self.host_reported(host, *slots, touched),
            F::HostReturned { host } => self.host_is(host, Presence::Present { since: at }),
            F::HostSuspected { host } => self.host_is(host, Presence::Suspect { since: at }),
            F::HostLost { host } => self.host_is(host, Presence::Lost { since: at }),
            F::HostDrained { host, deadline_ms } => self.host_drained(at, host, *deadline_ms, touched),
            F::HostUndrained { host } => self.host_undrained(host, touched),
            F::HostRemoved { host } => self.host_removed(host, touched),
            F::AttemptStarted { attempt, stage, host, agent, role, start, image } => {
                self.attempt_started(at, attempt, (*stage, host, agent, role, start, image), touched);
            }
            F::AttemptStopping { attempt } => self.attempt_stopping(at, attempt, touched),
            F::AttemptEnded { attempt, outcome, charged, commit, usage } => {
                self.attempt_ended(at, attempt, (outcome, *charged, *commit, usage.as_ref()), touched);
            }
            F::ResultGiven { attempt, start, commit } => self.result_given(at, attempt, start, *commit, touched),
            F::TaskMoved { task, place } => self.task_moved(at, task, place, touched),
            F::FeedbackGiven { task, feedback } => self.feedback_given(at, task, feedback, touched),
            F::WorkDropped { task } => self.work_dropped(at, task, touched),
            F::ExecutorChanged { task, executor } => self.executor_changed(at, task, executor, touched),
            F::MergeRequested { attempt } => self.merge_requested(attempt),
            F::MergePrepared { attempt, onto, candidate } => {
                self.merge_was_prepared(at, attempt, (*onto, *candidate), touched);
            }
            F::MergeIntended { project, merge, attempt, commit, onto, candidate } => {
                self.merge_intended(at, project, *merge, attempt, (*commit, *onto, *candidate), touched);
            }
            F::MergeLanded { project, merge, head } => self.merge_has_landed(at, project, *merge, *head, touched),
            F::MergeAbandoned { project, merge, head } => self.merge_abandoned(at, project, *merge, *head, touched),
            F::HeadMoved { project, head } => self.head_has_moved(project, *head, touched),
            F::ConflictFound { task, resolution, conflict } => {
                self.conflict_found(at, task, resolution, conflict, touched);
            }
            F::SourceConflicted { project, resolution, conflict } => {
                self.source_has_conflicted(at, project, resolution, conflict, touched);
            }
            F::TaskCompleted { task, merge_commit, resolved_by } => {
                self.task_completed(at, task, *merge_commit, resolved_by.as_ref(), touched);
            }
            F::Delivered { project, head } => self.was_delivered(at, project, *head, touched),
            F::DeliveryBlocked { project, reason } => self.delivery_was_blocked(project, reason, touched),
            F::JobDelayed { job, reason, after_ms } => self.job_delayed(job, reason, *after_ms),
            F::JobRepeated { job } => self.job_repeated(job, touched),
            F::ProviderParked { provider, until, after_ms, times, reason } => {
                self.provider_parked(provider, *until, (*after_ms, *times, reason), touched);
            }
            F::ProviderResumed { provider } => self.provider_resumed(provider, touched),
            F::ProviderServed { provider } => self.provider_served(provider, touched),
            F::AttemptLeft { attempt, left, summary } => {
                self.attempt_left(at, attempt, left, summary.as_ref(), touched);
            }
            F::TaskHeld { task, why } => self.task_held(at, task, why.as_deref(), touched),
            F::HostPinned { host, pins } => self.host_pinned(host, pins.as_deref(), touched),
        }
    }
}
