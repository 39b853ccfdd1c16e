//! Converts facts to the API's form: stable words, and a short sentence for people. The sentence does not repeat the
//! project and the task, because the fact names them in fields of their own.
//! Deliberately absent: what a reader can look up (specs, feedback, full commit ids).

use devstack_dag::{
    attempt::Feedback,
    fact::{Fact, FactKind, Place},
    ids::{AttemptId, CommitId, ProjectName, TaskRef, Text},
    record::Status,
};

use devstack_api::dto;

/// Digits of a commit id in a sentence.
const SHORT: usize = 7;

/// Characters of feedback in a sentence.
const FEEDBACK: usize = 200;

/// A fact as the API shows it.
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

/// Fills in what a fact is about.
trait About {
    fn project(&mut self, kind: &str, project: &ProjectName, message: String);
    fn task(&mut self, kind: &str, task: &TaskRef, message: String);
    fn attempt(&mut self, kind: &str, attempt: &AttemptId, message: String);
}

impl About for dto::Fact {
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
            to.project("project-described", &spec.name, "project described".to_owned())
        }
        FactKind::TasksAdded { project, plan, tasks } => {
            to.project("tasks-added", project, format!("plan {plan} adds {}", counted(tasks.len(), "task")));
        }
        FactKind::TaskUpdated { project, spec } => {
            to.project("task-updated", project, "changed by a plan".to_owned());
            to.task = Some(spec.id.to_string());
        }
        FactKind::PlanSubmitted { project, plan, added, updated, .. } => {
            to.project("plan-submitted", project, format!("plan {plan}: {added} added, {updated} updated"));
        }
        FactKind::PlanCancelled { project, plan } => {
            to.project("plan-cancelled", project, format!("plan {plan} cancelled"));
        }
        FactKind::ProjectPaused { project, paused: true } => {
            to.project("project-paused", project, "project paused".to_owned())
        }
        FactKind::ProjectPaused { project, paused: false } => {
            to.project("project-resumed", project, "project resumed".to_owned());
        }
        FactKind::HostReported { host, slots, .. } => {
            to.kind = "host-reported".to_owned();
            to.message = format!("host {host} reported {}", counted(*slots as usize, "slot"));
        }
        FactKind::HostQuarantined { host, quarantine } => {
            to.kind = "host-quarantined".to_owned();
            to.message = match quarantine {
                Some(q) => format!("host {host} cannot use {}: {}", counted(q.slots as usize, "slot"), q.why),
                None => format!("host {host} can use all its slots again"),
            };
        }
        FactKind::HostLost { host } => {
            to.kind = "host-lost".to_owned();
            to.message = format!("host {host} was silent for too long; its attempts will be replaced");
        }
        FactKind::HostSuspected { host } => {
            to.kind = "host-suspected".to_owned();
            to.message = format!("host {host} is silent; the state of its attempts is unknown");
        }
        FactKind::HostReturned { host } => {
            to.kind = "host-returned".to_owned();
            to.message = format!("host {host} reports again");
        }
        FactKind::HostDrained { host, deadline_ms } => {
            to.kind = "host-drained".to_owned();
            let until = deadline_ms.map_or_else(String::new, |ms| format!("; running attempts have {} s", ms / 1000));
            to.message = format!("host {host} gets no new attempts{until}");
        }
        FactKind::HostUndrained { host } => {
            to.kind = "host-undrained".to_owned();
            to.message = format!("host {host} gets attempts again");
        }
        FactKind::HostRemoved { host } => {
            to.kind = "host-removed".to_owned();
            to.message = format!("host {host} removed");
        }
        FactKind::AttemptStarted { attempt, stage, host, agent, .. } => {
            let what = dto::stage(*stage);
            let number = attempt.number;
            to.attempt("attempt-started", attempt, format!("{agent} started {what} (attempt {number}) on {host}"));
            let status = if what == "check" { Status::Testing } else { Status::Wip };
            to.status = Some(status.to_string());
        }
        FactKind::AttemptStopping { attempt } => {
            to.attempt("attempt-stopping", attempt, format!("stopping attempt {}", attempt.number))
        }
        FactKind::AttemptEnded { attempt, outcome, charged, .. } => {
            let (word, exit, why) = dto::outcome(outcome);
            let exit = exit.filter(|code| *code != 0).map(|code| format!(" (exit {code})")).unwrap_or_default();
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let free = if *charged || word == "done" { "" } else { ", not charged" };
            let message = format!("attempt {} {word}{exit}{free}{why}", attempt.number);
            to.attempt("attempt-ended", attempt, message);
        }
        FactKind::ResultGiven { attempt, commit, .. } => {
            to.attempt("result-given", attempt, format!("a person handed in commit {}", short(commit)));
        }
        FactKind::TaskMoved { task, place } => {
            to.task("task-moved", task, moved(place));
            to.status = Some(place.status.to_string());
        }
        FactKind::FeedbackGiven { task, feedback } => {
            to.task("feedback-given", task, received(feedback));
        }
        FactKind::WorkDropped { task } => {
            to.task("work-dropped", task, "starts again from the integration head".to_owned())
        }
        FactKind::ExecutorChanged { task, executor } => {
            let by = match executor {
                devstack_dag::plan::Executor::Agent(role) => format!("role {role}"),
                devstack_dag::plan::Executor::Human => "a person".to_owned(),
            };
            to.task("executor-changed", task, format!("now assigned to {by}"));
        }
        FactKind::MergeRequested { attempt } => {
            to.attempt("merge-requested", attempt, format!("attempt {} queued for merging", attempt.number))
        }
        FactKind::MergePrepared { attempt, candidate, .. } => {
            to.attempt("merge-prepared", attempt, format!("merge candidate {} ready for checks", short(candidate)));
        }
        FactKind::MergeIntended { attempt, candidate, .. } => {
            to.attempt("merge-intended", attempt, format!("merging as {}", short(candidate)));
        }
        FactKind::MergeLanded { project, merge, head } => {
            to.project("merge-landed", project, format!("merge {} landed; head is {}", merge.0, short(head)));
        }
        FactKind::MergeAbandoned { project, merge, head } => {
            to.project(
                "merge-abandoned",
                project,
                format!("merge {} abandoned: the head moved to {}", merge.0, short(head)),
            );
        }
        FactKind::HeadMoved { project, head } => {
            to.project("head-moved", project, format!("head moved to {}", short(head)))
        }
        FactKind::ConflictFound { task, resolution, conflict } => {
            let paths = conflict.paths.join(", ");
            let message = format!("conflicts in {paths}; created {} to resolve the conflict", resolution.id);
            to.task("conflict-found", task, message);
        }
        FactKind::SourceConflicted { project, resolution, conflict } => {
            let paths = conflict.paths.join(", ");
            to.project(
                "source-conflicted",
                project,
                format!("your repository conflicts in {paths}; created {} to resolve the conflict", resolution.id),
            );
        }
        FactKind::TaskCompleted { task, merge_commit, resolved_by } => {
            let by = resolved_by.as_ref().map(|id| format!(", resolved by {id}")).unwrap_or_default();
            let merged = merge_commit.map(|commit| format!(", merged as {}", short(&commit))).unwrap_or_default();
            to.task("task-completed", task, format!("completed{merged}{by}"));
            to.status = Some(Status::Completed.to_string());
        }
        FactKind::Delivered { project, head } => {
            to.project("delivered", project, format!("delivered {} to your repository", short(head)))
        }
        FactKind::DeliveryBlocked { project, reason } => {
            to.project("delivery-blocked", project, format!("cannot deliver to your repository: {reason}"));
        }
        FactKind::JobDelayed { job, reason, after_ms } => {
            to.kind = "job-delayed".to_owned();
            let in_ = devstack_config::units::format_duration(*after_ms);
            to.message = format!("{} failed: {reason}; retrying in {in_}", named(job));
        }
        FactKind::ProviderParked { provider, until, reason, .. } => {
            to.kind = "provider-parked".to_owned();
            to.message = format!("provider {provider} parked until {}: {reason}", dto::Time::from(*until));
        }
        FactKind::ProviderResumed { provider } => {
            to.kind = "provider-resumed".to_owned();
            to.message = format!("provider {provider} can be used again");
        }
        FactKind::ProviderServed { provider } => {
            to.kind = "provider-served".to_owned();
            to.message = format!("provider {provider} works again");
        }
        FactKind::AttemptLeft { attempt, left, .. } => {
            let skipped = left.skipped.len() + left.more as usize;
            let (paths, branches) = (counted(skipped, "path"), left.branches.len());
            let number = attempt.number;
            let message = format!("attempt {number}: {paths} not taken, {branches} other branches left behind");
            to.attempt("attempt-left", attempt, message);
        }
        FactKind::TaskHeld { task, why: Some(why) } => {
            to.task("task-held", task, format!("needs review before merging: {why}"));
        }
        FactKind::TaskHeld { task, why: None } => {
            to.task("task-held", task, "no longer needs review before merging".to_owned());
        }
        FactKind::HostPinned { host, pins } => {
            to.kind = "host-pinned".to_owned();
            let held = pins.as_ref().map_or_else(|| "none".to_owned(), |pins| counted(pins.max_slots as usize, "slot"));
            to.message = format!("limits of host {host}: {held}");
        }
        FactKind::JobRepeated { job } => {
            to.kind = "job-repeated".to_owned();
            to.message = format!("retrying: {}", named(job));
        }
    }
}

/// Where a task went. A status without a reason is the whole sentence; readers show the status anyway.
fn moved(place: &Place) -> String {
    let why = place.blocked.as_ref().map(|(_, why)| why).or(place.rejected.as_ref());
    let wait = place.backoff_ms.map(|ms| format!("retrying in {}", devstack_config::units::format_duration(ms)));
    match (why, wait) {
        (Some(why), _) => format!("{}: {why}", place.status),
        (None, Some(wait)) => wait,
        (None, None) => place.status.to_string(),
    }
}

/// The first line of the newest feedback, unless the text is stored as a blob.
fn received(feedback: &[Feedback]) -> String {
    let first_line = feedback.last().and_then(|one| match &one.text {
        Text::Inline(text) => text.lines().find(|line| !line.trim().is_empty()),
        Text::Blob(..) => None,
    });
    first_line.map_or_else(
        || "received feedback".to_owned(),
        |line| format!("received feedback: {}", line.trim().chars().take(FEEDBACK).collect::<String>()),
    )
}

/// A commit id as people write it.
fn short(commit: &CommitId) -> String {
    commit.to_string().chars().take(SHORT).collect()
}

/// `1 task`, `2 tasks`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn named(job: &devstack_dag::command::Job) -> String {
    use devstack_dag::command::Job;
    match job {
        Job::Prepare(attempt) => format!("merge preparation of {attempt}"),
        Job::Publish(project, merge) => format!("merge {} of {project}", merge.0),
        Job::Deliver(project) => format!("delivery of {project}"),
    }
}
