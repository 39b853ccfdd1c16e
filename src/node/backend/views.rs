//! What the API shows of the engine. Each function is a look: it runs inside the Taskmaster, so it copies and leaves.
//! Deliberately absent: I/O; prompts are resolved afterwards.

use std::collections::BTreeMap;

use devstack_dag::{
    Answer, Engine, Rejection, Watch,
    command::Command,
    ids::{ProjectName, TaskRef},
    plan::PlanSpec,
    record::{AttemptRecord, MergeState, TaskRecord},
};

use super::errors::{internal, no_task};
use crate::{
    agent_host::Host,
    gateway::{ApiError, TaskQuery, WaitQuery, dto},
    repository::source::Dirty,
    runtime::Isolation,
    taskmaster::message::View,
};

pub(super) fn plan_answer(answer: Answer, warnings: Vec<String>) -> Result<dto::PlanAnswer, ApiError> {
    let Answer::Plan { project, number, added, updated, retried, unchanged } = answer else {
        return Err(internal("a plan got another kind of answer"));
    };
    let (api_version, project) = (dto::V1, project.to_string());
    Ok(dto::PlanAnswer { api_version, project, plan: number, added, updated, retried, unchanged, warnings })
}

/// What a command is about and does, for its answer.
pub(super) fn subject(command: &Command) -> String {
    match command {
        Command::CancelPlan { project, .. } => format!("{project} is cancelled"),
        Command::PauseProject(project) => format!("{project} is paused"),
        Command::ResumeProject(project) => format!("{project} is resumed"),
        Command::StopTask(task) => format!("the attempt of {task} is being ended"),
        Command::RetryTask { task, .. } => format!("{task} is retried"),
        Command::RejectTask { task, .. } => format!("{task} is rejected"),
        Command::ApproveTask(task) => format!("{task} is approved"),
        Command::RequestChanges { task, .. } => format!("changes to {task} are requested"),
        Command::ResolveTask { task, .. } => format!("the result for {task} is taken"),
        _ => "done".to_owned(),
    }
}

pub(super) fn answer(subject: &str, answer: Answer) -> dto::Answer {
    let (changed, message) = match answer {
        Answer::Unchanged | Answer::Fenced => (false, "nothing changed: it was so already".to_owned()),
        Answer::Cancelled { rejected, merging } => {
            let merging: Vec<String> = merging.iter().map(ToString::to_string).collect();
            let still =
                if merging.is_empty() { String::new() } else { format!("; {} still merges", merging.join(", ")) };
            (rejected > 0, format!("{subject}: {rejected} tasks are rejected{still}"))
        }
        Answer::Plan { .. } | Answer::Done => (true, subject.to_owned()),
    };
    dto::Answer { api_version: dto::V1, changed, message }
}

fn known<'a>(engine: &'a Engine, project: &ProjectName) -> Result<&'a devstack_dag::record::ProjectRecord, ApiError> {
    engine.project(project).ok_or_else(|| Rejection::UnknownProject(project.clone()).into())
}

/// One project, or all.
fn selected(engine: &Engine, project: Option<&ProjectName>) -> Result<Vec<ProjectName>, ApiError> {
    match project {
        Some(project) => Ok(vec![known(engine, project)?.spec.name.clone()]),
        None => Ok(engine.projects().map(|project| project.spec.name.clone()).collect()),
    }
}

pub(super) fn plan(view: &View<'_>, project: &ProjectName) -> Result<PlanSpec, ApiError> {
    let spec = known(view.engine, project)?.spec.clone();
    let tasks = view.engine.tasks(project).filter(|task| matches!(task.kind, devstack_dag::record::Kind::Work));
    Ok(PlanSpec { project: spec, tasks: tasks.map(|task| (*task.spec).clone()).collect() })
}

pub(super) fn plans(view: &View<'_>, project: Option<&ProjectName>) -> Result<Vec<dto::Plan>, ApiError> {
    let projects = selected(view.engine, project)?;
    Ok(projects.iter().flat_map(|project| view.engine.plans(project)).map(dto::Plan::from).collect())
}

pub(super) fn projects(view: &View<'_>) -> Vec<dto::Project> {
    let engine = view.engine;
    let shown = |record: &devstack_dag::record::ProjectRecord| dto::Project {
        name: record.spec.name.to_string(),
        source: record.spec.source.clone(),
        integration: record.spec.source.as_ref().map(|_| record.spec.integration.clone()),
        head: record.head.map(|head| head.to_string()),
        delivered: record.delivered.map(|head| head.to_string()),
        delivery_blocked: record.delivery_blocked.clone(),
        paused: record.paused,
        plans: record.plans,
        tasks: counts(engine, Some(&record.spec.name)),
    };
    engine.projects().map(shown).collect()
}

fn counts(engine: &Engine, project: Option<&ProjectName>) -> BTreeMap<String, u64> {
    let counts = engine.counts(project);
    dto::STATUSES.iter().map(|(status, word)| ((*word).to_owned(), u64::from(counts.of(*status)))).collect()
}

pub(super) fn tasks(view: &View<'_>, query: &TaskQuery) -> Result<Vec<dto::Task>, ApiError> {
    let engine = view.engine;
    let mut refs: Vec<TaskRef> = selected(engine, query.project.as_ref())?
        .iter()
        .flat_map(|project| engine.task_refs(project, None))
        .filter(|task| query.after.as_ref().is_none_or(|after| task > after))
        .filter(|task| {
            query.statuses.is_empty() || engine.status(task).is_some_and(|status| query.statuses.contains(&status))
        })
        .collect();
    refs.sort_unstable();
    refs.truncate(query.limit);
    let shown = |task: &TaskRef| Some(dto::Task::from_record(&engine.task(task)?, engine.attempts(task).last()));
    Ok(refs.iter().filter_map(shown).collect())
}

pub(super) fn task(view: &View<'_>, task: &TaskRef) -> Result<(TaskRecord, Vec<AttemptRecord>), ApiError> {
    let record = view.engine.task(task).ok_or_else(|| no_task(task))?;
    Ok((record, view.engine.attempts(task).to_vec()))
}

pub(super) fn agents(view: &View<'_>) -> Vec<dto::Agent> {
    let shown = |(project, name, attempt): (&ProjectName, &devstack_dag::ids::AgentName, &AttemptRecord)| {
        let repository = view.engine.project(project).is_some_and(|project| project.spec.source.is_some());
        dto::Agent {
            name: name.to_string(),
            project: project.to_string(),
            role: attempt.role.to_string(),
            branch: repository.then(|| format!("feat/{name}")),
            host: Some(attempt.host.to_string()),
            task: Some(attempt.attempt.task.id.to_string()),
            attempt: Some(attempt.attempt.number),
            stage: Some(dto::stage(attempt.stage).to_owned()),
            since: Some(attempt.started_at.into()),
        }
    };
    view.engine.agents().map(shown).collect()
}

pub(super) fn hosts(view: &View<'_>, here: Option<&Host>) -> Vec<dto::Host> {
    let shown = |record: devstack_dag::record::HostRecord| {
        let used = u32::try_from(view.engine.on_host(&record.host).count()).unwrap_or(u32::MAX);
        let here = here.filter(|here| here.name == record.host);
        let (runtime, sandbox) = match here.map(|here| here.runtime.describe()) {
            Some(info) => match info.isolation {
                Isolation::Sandboxed { by } => (info.name, by),
                Isolation::Unsandboxed { why } => (info.name, format!("unsandboxed: {why}")),
            },
            None => ("unknown", "unknown: the host is not connected".to_owned()),
        };
        dto::Host::from_record(&record, here.is_some(), used, runtime, &sandbox)
    };
    view.engine.hosts().map(shown).collect()
}

pub(super) fn merges(view: &View<'_>, project: Option<&ProjectName>) -> Result<Vec<dto::Merge>, ApiError> {
    let projects = selected(view.engine, project)?;
    let landed = projects.iter().flat_map(|project| view.engine.merges(project));
    Ok(landed.filter(|merge| merge.state == MergeState::Landed).map(dto::Merge::from).collect())
}

pub(super) fn overview(view: &View<'_>, here: Option<&Host>) -> dto::Overview {
    dto::Overview {
        api_version: dto::V1,
        tasks: counts(view.engine, None),
        hosts: hosts(view, here),
        slots: view.engine.slots(),
        running: view.engine.running_attempts(),
        waiting: view.engine.waiting(None).into_iter().map(waiting).collect(),
    }
}

fn waiting(waiting: devstack_dag::Waiting) -> dto::Waiting {
    let (project, reason) = (&waiting.project, waiting.reason.map(|reason| format!("{reason}: ")).unwrap_or_default());
    dto::Waiting {
        task: waiting.task.map_or_else(|| project.to_string(), |task| format!("{project}/{task}")),
        status: waiting.status.map(|status| status.to_string()).unwrap_or_default(),
        reason: format!("{reason}{}", waiting.why),
        command: waiting.command,
    }
}

/// The tasks that a wait is about.
fn waited(view: &View<'_>, query: &WaitQuery) -> Result<Vec<TaskRef>, ApiError> {
    known(view.engine, &query.project)?;
    let Some(ids) = &query.tasks else { return Ok(view.engine.task_refs(&query.project, None)) };
    ids.iter()
        .map(|id| {
            let task = TaskRef { project: query.project.clone(), id: id.clone() };
            if view.engine.status(&task).is_none() { Err(no_task(&task)) } else { Ok(task) }
        })
        .collect()
}

pub(super) fn watch(view: &View<'_>, query: &WaitQuery) -> Result<Watch, ApiError> {
    Ok(view.engine.watch(&waited(view, query)?))
}

/// `None`: something still moves by itself.
pub(super) fn settled(view: &View<'_>, query: &WaitQuery, watch: &mut Watch) -> Option<dto::Settled> {
    use devstack_dag::record::Status::Completed;
    // What is merged is said to be done when it is where its owner looks for it.
    if !view.engine.settled_watch(watch) || view.engine.delivers(&query.project) {
        return None;
    }
    // A project that vanished meanwhile cannot be: projects are never removed.
    let tasks = waited(view, query).ok()?;
    let open = |task: &&TaskRef| view.engine.status(task).is_some_and(|status| !status.is_terminal());
    if query.through_humans && tasks.iter().any(|task| open(&task)) {
        return None;
    }
    let completed = tasks.iter().all(|task| view.engine.status(task) == Some(Completed));
    let waiting = if completed {
        Vec::new()
    } else {
        view.engine.waiting(Some(&query.project)).into_iter().map(waiting).collect()
    };
    Some(dto::Settled { api_version: dto::V1, completed, tasks: tasks.len() as u64, waiting })
}

/// A warning: only committed state of the source is used.
pub(super) fn dirty(shown: &str, dirty: &Dirty) -> String {
    format!(
        "{} uncommitted files in {shown} ({}) are not part of what agents see; commit what they need",
        dirty.files,
        dirty.examples.join(", ")
    )
}
