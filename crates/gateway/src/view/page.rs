//! Pages of lists without a bound: tasks, submissions, merges. Each search is bounded, whatever the filters match.
//! Deliberately absent: short lists (hosts, agents, projects: the routes cut them).

use devstack_dag::{
    Engine, Rejection,
    ids::ProjectName,
    record::{MergeState, Status},
};

use super::chosen;
use crate::{NumberedQuery, TaskQuery};
use devstack_api::{ApiError, dto};

/// The maximum number of tasks that one search visits: some milliseconds in which the Taskmaster does nothing else.
const LOOK: usize = 20_000;

/// A page of tasks: projects by name, their tasks in the order of submission.
///
/// # Errors
/// 404: the project does not exist.
pub fn tasks(engine: &Engine, query: &TaskQuery) -> Result<dto::TaskList, ApiError> {
    tasks_within(engine, query, LOOK)
}

fn tasks_within(engine: &Engine, query: &TaskQuery, mut look: usize) -> Result<dto::TaskList, ApiError> {
    if let Some(project) = query.project.as_ref().filter(|project| engine.project(project).is_none()) {
        return Err(Rejection::UnknownProject(project.clone()).into());
    }
    let mut skipping = query.after.as_ref();
    let mut page = dto::TaskList::from(Vec::new());
    let mut seen = None;
    for project in engine.projects() {
        let name = &project.spec.name;
        if query.project.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        if skipping.is_some_and(|after| after.project.as_str() > name.as_str()) {
            continue;
        }
        if skipping.is_some_and(|after| after.project != *name) {
            // The project of `after` is gone or excluded: the page continues after its name.
            skipping = None;
        }
        for task in engine.task_refs(name, None) {
            if let Some(after) = skipping {
                if *after == task {
                    skipping = None;
                }
                continue;
            }
            if page.tasks.len() >= query.limit || look == 0 {
                page.next = seen.map(|task: devstack_dag::ids::TaskRef| task.to_string());
                return Ok(page);
            }
            look -= 1;
            let wanted = |status: Status| query.statuses.is_empty() || query.statuses.contains(&status);
            if engine.status(&task).is_some_and(wanted) {
                let newest = engine.attempts(&task).last();
                let unknown = newest.is_some_and(|attempt| engine.is_unknown(attempt));
                let shown = engine.task(&task).map(|record| dto::Task::from_record(&record, newest, unknown));
                page.tasks.extend(shown.filter(|task| query.filter.admits(task)));
            }
            seen = Some(task);
        }
    }
    Ok(page)
}

/// A page of submissions, by project, oldest first.
///
/// # Errors
/// The project does not exist.
pub fn plans(engine: &Engine, query: &NumberedQuery) -> Result<dto::PlanList, ApiError> {
    let (plans, next) = numbered(engine, query, |name, after, take| {
        let plans = engine.plans(name);
        let from = plans.partition_point(|plan| u64::from(plan.number) <= after);
        let shown = plans[from..].iter().map(|plan| (u64::from(plan.number), dto::Plan::from(plan)));
        shown.take(take).collect()
    })?;
    Ok(dto::PlanList { next, ..plans.into() })
}

/// A page of completed merges, by project, oldest first.
///
/// # Errors
/// The project does not exist.
pub fn merges(engine: &Engine, query: &NumberedQuery) -> Result<dto::MergeList, ApiError> {
    let (merges, next) = numbered(engine, query, |name, after, take| {
        let merges = engine.merges(name);
        let from = merges.partition_point(|merge| merge.id.0 <= after);
        let landed = merges[from..].iter().filter(|merge| merge.state == MergeState::Landed);
        let wanted = landed.filter(|merge| query.task.as_ref().is_none_or(|task| merge.attempt.task.id == *task));
        wanted.map(|merge| (merge.id.0, dto::Merge::from(merge))).take(take).collect()
    })?;
    Ok(dto::MergeList { next, ..merges.into() })
}

/// Entries, and the cursor of the next page if there are more.
type Numbered<T> = (Vec<T>, Option<String>);

/// `of` returns at most so many entries of a project after a number.
fn numbered<T>(
    engine: &Engine,
    query: &NumberedQuery,
    of: impl Fn(&ProjectName, u64, usize) -> Vec<(u64, T)>,
) -> Result<Numbered<T>, ApiError> {
    let (mut page, mut last) = (Vec::new(), None);
    for name in chosen(engine, query.project.as_ref())? {
        let after = match &query.after {
            Some((project, _)) if *project > name => continue,
            Some((project, number)) if *project == name => *number,
            _ => 0,
        };
        // One extra entry shows whether there are more.
        for (number, entry) in of(&name, after, query.limit + 1 - page.len()) {
            if page.len() == query.limit {
                return Ok((page, last));
            }
            last = Some(format!("{name}/{number}"));
            page.push(entry);
        }
    }
    Ok((page, None))
}
