//! Facts as readers get them: a stable word, what it is about, a sentence for people.
//! Deliberately absent: prompts, feedback and anything else that can be large or private.

use devstack_dag::{
    attempt::Stage,
    command::Job,
    fact::{Fact, FactKind},
    ids::{AttemptId, ProjectName, TaskId, TaskRef},
    record::Status,
};

use crate::{gateway::dto, store::Seq};

/// A fact for readers.
pub(super) fn shown(seq: Seq, fact: &Fact) -> dto::Fact {
    let Told { kind, about, status, message } = tell(&fact.kind);
    let (project, task, attempt) = match about {
        About::Node => (None, None, None),
        About::Project(project) => (Some(project), None, None),
        About::Task(project, task) => (Some(project), Some(task), None),
        About::Attempt(id) => (Some(&id.task.project), Some(&id.task.id), Some(id.number)),
    };
    dto::Fact {
        seq: seq.0,
        at: fact.at.into(),
        kind: kind.to_owned(),
        project: project.map(ToString::to_string),
        task: task.map(ToString::to_string),
        attempt,
        status: status.map(|status| status.as_str().to_owned()),
        message,
    }
}

struct Told<'a> {
    kind: &'static str,
    about: About<'a>,
    status: Option<Status>,
    message: String,
}

enum About<'a> {
    Node,
    Project(&'a ProjectName),
    Task(&'a ProjectName, &'a TaskId),
    Attempt(&'a AttemptId),
}

fn told<'a>(kind: &'static str, about: About<'a>, message: String) -> Told<'a> {
    Told { kind, about, status: None, message }
}

fn of(task: &TaskRef) -> About<'_> {
    About::Task(&task.project, &task.id)
}

fn tell(kind: &FactKind) -> Told<'_> {
    use FactKind as F;
    match kind {
        F::ProjectDescribed { spec, .. } => {
            told("project-described", About::Project(&spec.name), format!("project {} is described", spec.name))
        }
        F::TasksAdded { project, plan, tasks } => {
            told("tasks-added", About::Project(project), format!("{} tasks of plan {plan} are added", tasks.len()))
        }
        F::TaskUpdated { project, spec } => {
            told("task-updated", About::Task(project, &spec.id), format!("{} is changed by its plan", spec.id))
        }
        F::PlanSubmitted { project, plan, added, updated, .. } => told(
            "plan-submitted",
            About::Project(project),
            format!("plan {plan} is accepted: {added} tasks added, {updated} changed"),
        ),
        F::PlanCancelled { project, plan } => {
            told("plan-cancelled", About::Project(project), format!("plan {plan} is cancelled"))
        }
        F::ProjectPaused { project, paused } => {
            let word = if *paused { "paused" } else { "resumed" };
            told("project-paused", About::Project(project), format!("{project} is {word}"))
        }
        F::HostReported { host, slots, .. } => {
            told("host-reported", About::Node, format!("host {host} offers {slots} slots"))
        }
        F::HostLost { host } => told("host-lost", About::Node, format!("host {host} is lost")),
        F::AttemptStarted { attempt, stage, host, agent, .. } => Told {
            kind: "attempt-started",
            about: About::Attempt(attempt),
            status: (*stage == Stage::Work).then_some(Status::Wip),
            message: match stage {
                Stage::Work => format!("{agent} starts on {host}"),
                Stage::Check => format!("the checks start on {host}"),
            },
        },
        F::AttemptStopping { attempt } => {
            told("attempt-stopping", About::Attempt(attempt), "a person asked for its end".to_owned())
        }
        F::AttemptEnded { attempt, outcome, charged, .. } => {
            let (word, code, detail) = dto::outcome(outcome);
            let code = code.filter(|code| *code != 0).map(|code| format!(" (exit {code})")).unwrap_or_default();
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            let charged = if *charged { ", charged" } else { "" };
            told("attempt-ended", About::Attempt(attempt), format!("{word}{code}{charged}{detail}"))
        }
        F::ResultGiven { attempt, .. } => {
            told("result-given", About::Attempt(attempt), "a person handed in a result".to_owned())
        }
        F::TaskMoved { task, place } => {
            let why = match (&place.blocked, &place.rejected) {
                (Some((reason, detail)), _) => format!(" ({reason}): {detail}"),
                (None, Some(reason)) => format!(": {reason}"),
                (None, None) => {
                    place.backoff_ms.map(|ms| format!(", waits {:.1} s", ms as f64 / 1000.0)).unwrap_or_default()
                }
            };
            Told {
                kind: "task-moved",
                about: of(task),
                status: Some(place.status),
                message: format!("{}{why}", place.status),
            }
        }
        F::FeedbackGiven { task, .. } => told("feedback-given", of(task), "the next attempt gets feedback".to_owned()),
        F::WorkDropped { task } => told("work-dropped", of(task), "the next attempt starts afresh".to_owned()),
        F::ExecutorChanged { task, executor } => {
            use devstack_dag::plan::Executor::{Agent, Human};
            let message = match executor {
                Human => "it is handed to a person".to_owned(),
                Agent(role) => format!("it is handed to {role}"),
            };
            told("executor-changed", of(task), message)
        }
        F::MergeRequested { attempt } => {
            told("merge-requested", About::Attempt(attempt), "its merge is prepared".to_owned())
        }
        F::MergePrepared { attempt, candidate, .. } => {
            told("merge-prepared", About::Attempt(attempt), format!("its merge {} is ready", short(candidate)))
        }
        F::MergeIntended { attempt, candidate, .. } => {
            told("merge-intended", About::Attempt(attempt), format!("{} is to be published", short(candidate)))
        }
        F::MergeLanded { project, head, .. } => {
            told("merge-landed", About::Project(project), format!("the integration head is {}", short(head)))
        }
        F::MergeAbandoned { project, head, .. } => told(
            "merge-abandoned",
            About::Project(project),
            format!("the head had moved to {}; the merge is prepared again", short(head)),
        ),
        F::HeadMoved { project, head } => {
            told("head-moved", About::Project(project), format!("the integration head is {}", short(head)))
        }
        F::ConflictFound { task, resolution, conflict } => told(
            "conflict-found",
            of(task),
            format!("conflicts in {}; {} resolves it", conflict.paths.join(", "), resolution.id),
        ),
        F::TaskCompleted { task, merge_commit, resolved_by } => {
            let merged = merge_commit.as_ref().map(|commit| format!(", merged as {}", short(commit)));
            let by = resolved_by.as_ref().map(|id| format!(", resolved by {id}"));
            Told {
                kind: "task-completed",
                about: of(task),
                status: Some(Status::Completed),
                message: format!("COMPLETED{}{}", merged.unwrap_or_default(), by.unwrap_or_default()),
            }
        }
        F::Delivered { project, head } => {
            told("delivered", About::Project(project), format!("the source has {}", short(head)))
        }
        F::DeliveryBlocked { project, reason } => told("delivery-blocked", About::Project(project), reason.clone()),
        F::JobDelayed { job, reason, after_ms } => {
            told("job-delayed", about_job(job), format!("asked again in {:.1} s: {reason}", *after_ms as f64 / 1000.0))
        }
        F::JobRepeated { job } => told("job-repeated", about_job(job), "asked again".to_owned()),
    }
}

fn about_job(job: &Job) -> About<'_> {
    match job {
        Job::Prepare(attempt) => About::Attempt(attempt),
        Job::Publish(project, _) | Job::Deliver(project) => About::Project(project),
    }
}

fn short(commit: &devstack_dag::ids::CommitId) -> String {
    commit.to_string().chars().take(10).collect()
}
