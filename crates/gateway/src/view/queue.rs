//! The data of the merge queues' page: entries in progress, waiting entries, completed merges.
//! Deliberately absent: the order of a queue (the engine decides).

use crate::pages;
use devstack_dag::{
    Engine,
    attempt::Stage,
    ids::{ProjectName, TaskId, TaskRef},
    record::{MergeState, ProjectRecord, Status, TaskRecord},
};

use crate::pages::QueueStage;
use devstack_api::{ApiError, dto};

/// The queues of the projects with a repository, each with at most so many entries and completed merges.
///
/// # Errors
/// The project does not exist.
pub fn merge_queues(
    engine: &Engine,
    project: Option<&ProjectName>,
    entries: usize,
    landed: usize,
) -> Result<Vec<pages::MergeQueue>, ApiError> {
    super::chosen(engine, project)?;
    let wanted =
        |known: &&ProjectRecord| known.spec.source.is_some() && project.is_none_or(|name| *name == known.spec.name);
    Ok(engine.projects().filter(wanted).map(|known| queue(engine, known, entries, landed)).collect())
}

fn queue(engine: &Engine, known: &ProjectRecord, most: usize, landed: usize) -> pages::MergeQueue {
    let name = &known.spec.name;
    let approved = engine.merge_queue(name);
    let front = approved.first();
    // A task whose check runs before its review is in progress, but in no queue yet.
    let checked = engine.spots(Some(name)).filter(|spot| spot.status == Status::Testing).map(|spot| spot.id);
    let mut ids: Vec<&TaskId> = front.into_iter().chain(checked.filter(|id| Some(*id) != front)).collect();
    let queued = approved.iter().skip(1);
    let waiting: Vec<&TaskId> = queued.filter(|id| engine.status(&of(name, id)) != Some(Status::Testing)).collect();
    ids.extend(waiting);
    let entries = ids.iter().take(most).filter_map(|id| {
        let task = engine.task(&of(name, id))?;
        Some(entry(engine, &task, Some(*id) == front, engine.merging(name).is_some()))
    });
    let merges = engine.merges(name);
    let all_landed = || merges.iter().rev().filter(|merge| merge.state == MergeState::Landed);
    let titled = |merge: &devstack_dag::record::MergeRecord| pages::Landed {
        merge: merge.into(),
        id: merge.attempt.task.id.to_string(),
        title: engine.task(&merge.attempt.task).map(|task| task.spec.title.to_string()).unwrap_or_default(),
    };
    pages::MergeQueue {
        project: name.to_string(),
        integration: known.spec.integration.clone(),
        head: known.head.map(|head| head.to_string()),
        delivered: known.head == known.delivered,
        waits: engine.delivery_waits(name),
        paused: known.paused,
        entries: entries.collect(),
        length: ids.len() as u64,
        landed: all_landed().take(landed).map(titled).collect(),
        merged: all_landed().count() as u64,
    }
}

fn of(project: &ProjectName, id: &TaskId) -> TaskRef {
    TaskRef { project: project.clone(), id: id.clone() }
}

fn entry(engine: &Engine, task: &TaskRecord, is_front: bool, merging: bool) -> pages::Queued {
    let name = TaskRef { project: task.project.clone(), id: task.spec.id.clone() };
    let check = engine.running(&name).filter(|attempt| attempt.stage == Stage::Check);
    let stage = match task.status {
        Status::Testing if check.is_some() => QueueStage::Checking,
        Status::Testing => QueueStage::AwaitingCheck,
        _ if is_front && merging => QueueStage::Merging,
        _ if is_front => QueueStage::Preparing,
        _ => QueueStage::Waiting,
    };
    pages::Queued {
        id: task.spec.id.to_string(),
        title: task.spec.title.to_string(),
        stage,
        agent: check.map(|check| check.agent.to_string()).or(task.agent.as_ref().map(ToString::to_string)),
        since: check.map(|check| check.started_at).or(task.approved_at).map(dto::Time::from),
    }
}
