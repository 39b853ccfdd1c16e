//! Facts in stable words, with a sentence for people.
//! Deliberately absent: what a reader can look up (specs, feedback, commits of candidates).

use devstack_dag::{
    fact::{Fact, FactKind, Place},
    ids::{AttemptId, ProjectName, TaskRef},
    record::Status,
};

use crate::gateway::dto;

/// A fact, as readers get it.
pub fn fact(seq: u64, fact: &Fact) -> dto::Fact {
    let mut shown = dto::Fact {
        seq,
        at: fact.at.into(),
        kind: String::new(),
        project: None,
        task: None,
        attempt: None,
        status: None,
        message: String::new(),
    };
    describe(&fact.kind, &mut shown);
    shown
}

impl dto::Fact {
    fn project(&mut self, kind: &str, project: &ProjectName, message: String) {
        self.kind = kind.to_owned();
        self.project = Some(project.to_string());
        self.message = message;
    }

    fn task(&mut self, kind: &str, task: &TaskRef, message: String) {
        self.project(kind, &task.project, message);
        self.task = Some(task.id.to_string());
    }

    fn attempt(&mut self, kind: &str, attempt: &AttemptId, message: String) {
        self.task(kind, &attempt.task, message);
        self.attempt = Some(attempt.number);
    }
}

fn describe(kind: &FactKind, to: &mut dto::Fact) {
    match kind {
        FactKind::ProjectDescribed { spec, .. } => {
            to.project("project-described", &spec.name, format!("{} is described", spec.name))
        }
        FactKind::TasksAdded { project, plan, tasks } => {
            to.project("tasks-added", project, format!("plan {plan} of {project} adds {} tasks", tasks.len()));
        }
        FactKind::TaskUpdated { project, spec } => {
            to.project("task-updated", project, format!("{project}/{} is changed by a plan", spec.id));
            to.task = Some(spec.id.to_string());
        }
        FactKind::PlanSubmitted { project, plan, added, updated, .. } => {
            to.project(
                "plan-submitted",
                project,
                format!("plan {plan} of {project}: {added} added, {updated} updated"),
            );
        }
        FactKind::PlanCancelled { project, plan } => {
            to.project("plan-cancelled", project, format!("plan {plan} of {project} is cancelled"));
        }
        FactKind::ProjectPaused { project, paused: true } => {
            to.project("project-paused", project, format!("{project} is paused"))
        }
        FactKind::ProjectPaused { project, paused: false } => {
            to.project("project-resumed", project, format!("{project} is resumed"));
        }
        FactKind::HostReported { host, slots, .. } => {
            to.kind = "host-reported".to_owned();
            to.message = format!("host {host} is there with {slots} slots");
        }
        FactKind::HostQuarantined { host, quarantine } => {
            to.kind = "host-quarantined".to_owned();
            to.message = match quarantine {
                Some(q) => format!("{} slots of host {host} cannot be used for now: {}", q.slots, q.why),
                None => format!("all slots of host {host} can be used again"),
            };
        }
        FactKind::HostLost { host } => {
            to.kind = "host-lost".to_owned();
            to.message = format!("host {host} was silent for too long: its attempts are replaced");
        }
        FactKind::HostSuspected { host } => {
            to.kind = "host-suspected".to_owned();
            to.message = format!("host {host} is silent: nobody knows how its attempts are");
        }
        FactKind::HostReturned { host } => {
            to.kind = "host-returned".to_owned();
            to.message = format!("host {host} reports");
        }
        FactKind::HostDrained { host, deadline_ms } => {
            to.kind = "host-drained".to_owned();
            let until = deadline_ms.map_or_else(String::new, |ms| format!("; those that run have {} s", ms / 1000));
            to.message = format!("host {host} gets no more attempts{until}");
        }
        FactKind::HostUndrained { host } => {
            to.kind = "host-undrained".to_owned();
            to.message = format!("host {host} gets attempts again");
        }
        FactKind::HostRemoved { host } => {
            to.kind = "host-removed".to_owned();
            to.message = format!("host {host} is forgotten");
        }
        FactKind::AttemptStarted { attempt, stage, host, agent, .. } => {
            let what = dto::stage(*stage);
            to.attempt("attempt-started", attempt, format!("{attempt}: {agent} starts to {what} on {host}"));
            let status = if what == "check" { Status::Testing } else { Status::Wip };
            to.status = Some(status.to_string());
        }
        FactKind::AttemptStopping { attempt } => {
            to.attempt("attempt-stopping", attempt, format!("{attempt} is to be stopped"))
        }
        FactKind::AttemptEnded { attempt, outcome, charged, .. } => {
            let (word, exit, why) = dto::outcome(outcome);
            let exit = exit.filter(|code| *code != 0).map(|code| format!(" (exit {code})")).unwrap_or_default();
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let free = if *charged || word == "done" { "" } else { ", uncharged" };
            to.attempt("attempt-ended", attempt, format!("{attempt} ended: {word}{exit}{free}{why}"));
        }
        FactKind::ResultGiven { attempt, commit, .. } => {
            to.attempt("result-given", attempt, format!("a person gave {commit} for {}", attempt.task));
        }
        FactKind::TaskMoved { task, place } => {
            to.task("task-moved", task, moved(task, place));
            to.status = Some(place.status.to_string());
        }
        FactKind::FeedbackGiven { task, feedback } => {
            to.task("feedback-given", task, format!("{task} has {} entries of feedback", feedback.len()));
        }
        FactKind::WorkDropped { task } => {
            to.task("work-dropped", task, format!("{task} starts again from the integration head"))
        }
        FactKind::ExecutorChanged { task, executor } => {
            let by = match executor {
                devstack_dag::plan::Executor::Agent(role) => format!("a {role}"),
                devstack_dag::plan::Executor::Human => "a person".to_owned(),
            };
            to.task("executor-changed", task, format!("{task} is now done by {by}"));
        }
        FactKind::MergeRequested { attempt } => {
            to.attempt("merge-requested", attempt, format!("{attempt} is to be merged"))
        }
        FactKind::MergePrepared { attempt, candidate, .. } => {
            to.attempt("merge-prepared", attempt, format!("{attempt} would be merged as {candidate}"));
        }
        FactKind::MergeIntended { attempt, candidate, .. } => {
            to.attempt("merge-intended", attempt, format!("{attempt} is being merged as {candidate}"));
        }
        FactKind::MergeLanded { project, merge, head } => {
            to.project("merge-landed", project, format!("merge {} of {project} is in {head}", merge.0));
        }
        FactKind::MergeAbandoned { project, merge, head } => {
            to.project(
                "merge-abandoned",
                project,
                format!("merge {} of {project} came too late: the head is {head}", merge.0),
            );
        }
        FactKind::HeadMoved { project, head } => {
            to.project("head-moved", project, format!("{project} was brought to {head}"))
        }
        FactKind::ConflictFound { task, resolution, conflict } => {
            let paths = conflict.paths.join(", ");
            to.task("conflict-found", task, format!("{task} conflicts in {paths}; {} is to resolve it", resolution.id));
        }
        FactKind::SourceConflicted { project, resolution, conflict } => {
            let paths = conflict.paths.join(", ");
            to.project(
                "source-conflicted",
                project,
                format!("the source of {project} conflicts in {paths}; {} is to resolve it", resolution.id),
            );
        }
        FactKind::TaskCompleted { task, merge_commit, resolved_by } => {
            let by = resolved_by.as_ref().map(|id| format!(", resolved by {id}")).unwrap_or_default();
            let merged = merge_commit.map(|commit| format!(", merged as {commit}")).unwrap_or_default();
            to.task("task-completed", task, format!("{task} is completed{merged}{by}"));
            to.status = Some(Status::Completed.to_string());
        }
        FactKind::Delivered { project, head } => {
            to.project("delivered", project, format!("the source of {project} has {head}"))
        }
        FactKind::DeliveryBlocked { project, reason } => {
            to.project(
                "delivery-blocked",
                project,
                format!("the source of {project} cannot be brought up to date: {reason}"),
            );
        }
        FactKind::JobDelayed { job, reason, after_ms } => {
            to.kind = "job-delayed".to_owned();
            let in_ = crate::config::units::format_duration(*after_ms);
            to.message = format!("{} failed and is tried again in {in_}: {reason}", named(job));
        }
        FactKind::ProviderParked { provider, until, reason, .. } => {
            to.kind = "provider-parked".to_owned();
            to.message = format!("the provider {provider} is parked until {}: {reason}", dto::Time::from(*until));
        }
        FactKind::ProviderResumed { provider } => {
            to.kind = "provider-resumed".to_owned();
            to.message = format!("the provider {provider} may be asked again");
        }
        FactKind::ProviderServed { provider } => {
            to.kind = "provider-served".to_owned();
            to.message = format!("the provider {provider} serves again");
        }
        FactKind::AttemptLeft { attempt, left, .. } => {
            let skipped = left.skipped.len() + left.more as usize;
            let branches = left.branches.len();
            let message = format!("{attempt} left {skipped} paths that were not taken and {branches} other branches");
            to.attempt("attempt-left", attempt, message);
        }
        FactKind::TaskHeld { task, why: Some(why) } => {
            to.task("task-held", task, format!("{task} must be looked at before it is merged: {why}"));
        }
        FactKind::TaskHeld { task, why: None } => {
            to.task("task-held", task, format!("{task} may be merged without a further look"));
        }
        FactKind::HostPinned { host, pins } => {
            to.kind = "host-pinned".to_owned();
            let held = pins.as_ref().map_or_else(|| "none".to_owned(), |pins| format!("{} slots", pins.max_slots));
            to.message = format!("host {host} is held to limits: {held}");
        }
        FactKind::JobRepeated { job } => {
            to.kind = "job-repeated".to_owned();
            to.message = format!("{} is tried again", named(job));
        }
    }
}

fn moved(task: &TaskRef, place: &Place) -> String {
    let why = place.blocked.as_ref().map(|(_, why)| why).or(place.rejected.as_ref());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let wait = place.backoff_ms.map(|ms| format!(", again in {}", crate::config::units::format_duration(ms)));
    format!("{task} is {}{why}{}", place.status, wait.unwrap_or_default())
}

fn named(job: &devstack_dag::command::Job) -> String {
    use devstack_dag::command::Job;
    match job {
        Job::Prepare(attempt) => format!("preparing the merge of {attempt}"),
        Job::Publish(project, merge) => format!("merge {} of {project}", merge.0),
        Job::Deliver(project) => format!("delivering {project}"),
    }
}
