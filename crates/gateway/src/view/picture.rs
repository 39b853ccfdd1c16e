//! The engine's data for pictures: the tasks of a graph, the attempts of a time axis. One pass that keeps only what is
//! shown.
//! Deliberately absent: drawing.

use crate::pages;
use std::cmp::Reverse;

use devstack_dag::{
    Engine, Rejection, Spot,
    attempt::Outcome,
    ids::{ProjectName, TaskRef, Timestamp},
    record::{AttemptRecord, Status},
};

use crate::GraphQuery;
use devstack_api::{ApiError, dto};
use devstack_draw::{
    dag,
    gantt::{Span, State},
};

/// The tasks of a project for its graph: all, or the dependencies and dependents of one task.
///
/// # Errors
/// The project or the task does not exist.
pub fn graph(engine: &Engine, query: &GraphQuery) -> Result<pages::Graph, ApiError> {
    let projects: Vec<String> = engine.projects().map(|project| project.spec.name.to_string()).collect();
    let Some(name) = query.project.as_ref().or_else(|| engine.projects().next().map(|project| &project.spec.name))
    else {
        return Ok(pages::Graph { projects, project: None, tasks: Vec::new(), total: 0, left_out: 0 });
    };
    if engine.project(name).is_none() {
        return Err(Rejection::UnknownProject(name.clone()).into());
    }
    let total = u64::from(engine.counts(Some(name)).total());
    let tasks: Vec<dag::Task> = match &query.way_of {
        Some(id) => {
            let task = TaskRef { project: name.clone(), id: id.clone() };
            let way = engine.way(&task, query.most).ok_or_else(|| Rejection::UnknownTask(task.clone()))?;
            way.iter().map(task_of).collect()
        }
        None if total <= query.most as u64 => engine.spots(Some(name)).map(|spot| task_of(&spot)).collect(),
        None => {
            let open = |spot: &Spot<'_>| spot.status != Status::Completed;
            engine.spots(Some(name)).filter(open).take(query.most).map(|spot| task_of(&spot)).collect()
        }
    };
    let left_out = if query.way_of.is_some() { 0 } else { total - tasks.len() as u64 };
    Ok(pages::Graph { projects, project: Some(name.to_string()), tasks, total, left_out })
}

/// A resolution is drawn after the task that it unblocks.
fn task_of(spot: &Spot<'_>) -> dag::Task {
    dag::Task {
        id: spot.id.to_string(),
        title: spot.title.to_owned(),
        status: spot.status,
        dependencies: spot.dependencies.iter().chain(spot.resolves).map(ToString::to_string).collect(),
    }
}

/// The attempts that are running or ended within the period, of one project or all. If there are more than `most`, the
/// last ended ones are kept.
///
/// # Errors
/// The project does not exist.
pub fn timeline(
    engine: &Engine,
    now: Timestamp,
    project: Option<&ProjectName>,
    window: u64,
    most: usize,
) -> Result<pages::Timeline, ApiError> {
    super::chosen(engine, project)?;
    let wanted = |attempt: &&AttemptRecord| project.is_none_or(|name| attempt.attempt.task.project == *name);
    let running = engine.agents().map(|(_, _, attempt)| attempt);
    let mut attempts: Vec<&AttemptRecord> =
        running.chain(engine.ended_since(Timestamp(now.0.saturating_sub(window)))).filter(wanted).collect();
    let left_out = attempts.len().saturating_sub(most);
    if left_out > 0 {
        let newest = |attempt: &&AttemptRecord| Reverse(attempt.ended_at.unwrap_or(Timestamp(u64::MAX)));
        attempts.select_nth_unstable_by_key(most, newest);
        attempts.truncate(most);
    }
    Ok(pages::Timeline {
        now: now.into(),
        projects: engine.projects().map(|project| project.spec.name.to_string()).collect(),
        attempts: attempts.into_iter().map(|attempt| span(attempt, engine.is_unknown(attempt))).collect(),
        left_out: left_out as u64,
    })
}

fn span(attempt: &AttemptRecord, unknown: bool) -> Span {
    let state = match &attempt.outcome {
        None if unknown => State::Unknown,
        None => State::Running,
        Some(Outcome::Exited(0)) if !attempt.charged => State::Done,
        Some(_) if attempt.charged => State::Failed,
        Some(_) => State::Returned,
    };
    Span {
        host: attempt.host.to_string(),
        project: attempt.attempt.task.project.to_string(),
        task: attempt.attempt.task.id.to_string(),
        number: attempt.attempt.number,
        agent: attempt.agent.to_string(),
        stage: attempt.stage,
        state,
        outcome: attempt.outcome.as_ref().map(|outcome| dto::outcome(outcome).0.to_owned()),
        started: attempt.started_at.0,
        ended: attempt.ended_at.map(|at| at.0),
    }
}
