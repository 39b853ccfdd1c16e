//! The next move of a project's merge queue. One merge at a time. The front stays the front until it lands, conflicts
//! or fails, so nothing starves. The tested merge is the merge that is published.
//! Deliberately absent: preparing and publishing (DevOps) and what a conflict means (the engine).

use crate::{
    engine::state::{Project, Task, TaskIx},
    record::Status,
};

/// The next move of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: the queue is empty, or DevOps or the checks are busy.
    Wait,
    /// The front has no merge that was prepared on the present head.
    Prepare(TaskIx),
    /// The front's prepared merge may be published.
    Intend(TaskIx),
}

/// Looks only at the front.
pub(crate) fn next(project: &Project, tasks: &[Task]) -> Next {
    if project.merging.is_some() {
        return Next::Wait;
    }
    let Some(front) = front(project) else { return Next::Wait };
    let task = &tasks[front as usize];
    if task.preparing || task.status != Status::Approved {
        return Next::Wait;
    }
    match task.candidate() {
        // With checks, a candidate reaches this point only by passing them: `MergePrepared` sends it to TESTING first.
        Some((onto, _)) if project.record.head == Some(onto) => Next::Intend(front),
        _ => Next::Prepare(front),
    }
}

/// The task that the queue works on, or would work on next.
pub(crate) fn front(project: &Project) -> Option<TaskIx> {
    project.front.or_else(|| project.queue.first().map(|&(_, _, task)| task))
}
