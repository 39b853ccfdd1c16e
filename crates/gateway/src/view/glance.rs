//! The dashboard's overviews. Each is one pass over the tasks that keeps only what is shown.
//! Deliberately absent: pages.

use crate::pages;
use std::{cmp::Reverse, collections::BinaryHeap};

use devstack_dag::{
    Engine, Spot,
    ids::{ProjectName, TaskRef, Timestamp},
    record::{AttemptRecord, MergeState},
};

use devstack_api::{ApiError, dto};

/// The maximum number of tasks shown of a merge queue.
const QUEUE_SHOWN: usize = 5;
/// A minute, in milliseconds.
const MINUTE: u64 = 60_000;

/// The overview.
pub fn glance(engine: &Engine, now: Timestamp, hosts: Vec<dto::Host>) -> pages::Glance {
    let (mut running, mut ended) = (Newest::of(pages::Glance::SHOWN), Newest::of(pages::Glance::SHOWN));
    for spot in engine.spots(None) {
        let Some(newest) = spot.newest else { continue };
        match newest.ended_at {
            None => running.offer(newest.started_at, spot),
            Some(at) => ended.offer(at, spot),
        }
    }
    let shown = |spot: Spot<'_>| spot.newest.map(|newest| work(&spot, newest, engine.is_unknown(newest)));
    pages::Glance {
        now: now.into(),
        overview: super::overview(engine, hosts),
        projects: super::projects(engine),
        queues: engine.projects().filter_map(|project| queue(engine, &project.spec.name)).collect(),
        running: running.into_iter().filter_map(shown).collect(),
        ended: ended.into_iter().filter_map(shown).collect(),
        pace: pace(engine, now),
    }
}

/// Tasks by status, of one project or all.
///
/// # Errors
/// The project does not exist.
pub fn board(
    engine: &Engine,
    now: Timestamp,
    project: Option<&ProjectName>,
    shown: usize,
) -> Result<pages::Board, ApiError> {
    super::chosen(engine, project)?;
    let mut newest: Vec<Newest<'_>> = dto::STATUSES.iter().map(|_| Newest::of(shown)).collect();
    for spot in engine.spots(project) {
        newest[spot.status as usize].offer(spot.updated_at, spot);
    }
    let counts = engine.counts(project);
    let column = |(status, newest): (&devstack_dag::record::Status, Newest<'_>)| pages::Column {
        status: status.to_string(),
        count: u64::from(counts.of(*status)),
        tasks: newest.into_iter().filter_map(|spot| task(engine, &spot)).collect(),
    };
    Ok(pages::Board {
        now: now.into(),
        projects: engine.projects().map(|project| project.spec.name.to_string()).collect(),
        columns: dto::STATUSES.iter().zip(newest).map(column).collect(),
    })
}

fn task(engine: &Engine, spot: &Spot<'_>) -> Option<dto::Task> {
    let unknown = spot.newest.is_some_and(|attempt| engine.is_unknown(attempt));
    Some(dto::Task::from_record(&engine.task(&spot.task())?, spot.newest, unknown))
}

fn work(spot: &Spot<'_>, attempt: &AttemptRecord, unknown: bool) -> pages::Work {
    pages::Work {
        project: spot.project.to_string(),
        id: spot.id.to_string(),
        title: spot.title.to_owned(),
        number: attempt.attempt.number,
        stage: dto::stage(attempt.stage).to_owned(),
        agent: attempt.agent.to_string(),
        host: attempt.host.to_string(),
        unknown,
        outcome: attempt.outcome.as_ref().map(|outcome| dto::outcome(outcome).0.to_owned()),
        started_at: attempt.started_at.into(),
        ended_at: attempt.ended_at.map(dto::Time::from),
    }
}

fn queue(engine: &Engine, project: &ProjectName) -> Option<pages::Queue> {
    let tasks = engine.merge_queue(project);
    let titled = |id: &devstack_dag::ids::TaskId| {
        let task = TaskRef { project: project.clone(), id: id.clone() };
        let title = engine.task(&task).map(|record| record.spec.title.to_string());
        (id.to_string(), title.unwrap_or_default())
    };
    (!tasks.is_empty()).then(|| pages::Queue {
        project: project.to_string(),
        first: tasks.iter().take(QUEUE_SHOWN).map(titled).collect(),
        length: tasks.len(),
        merging: engine.merging(project).is_some(),
    })
}

/// The throughput of the last minutes, oldest first.
fn pace(engine: &Engine, now: Timestamp) -> Vec<pages::Minute> {
    let mut minutes = vec![pages::Minute::default(); pages::Glance::MINUTES];
    let since = Timestamp(now.0.saturating_sub(pages::Glance::MINUTES as u64 * MINUTE - 1));
    let mut count = |at: Timestamp, add: fn(&mut pages::Minute)| {
        let ago = usize::try_from(now.0.saturating_sub(at.0) / MINUTE).unwrap_or(usize::MAX);
        if let Some(minute) = pages::Glance::MINUTES.checked_sub(ago + 1).and_then(|at| minutes.get_mut(at)) {
            add(minute);
        }
    };
    for attempt in engine.ended_since(since) {
        let Some(at) = attempt.ended_at else { continue };
        let good = attempt.outcome == Some(devstack_dag::attempt::Outcome::Exited(0));
        count(at, if good { |minute| minute.done += 1 } else { |minute| minute.failed += 1 });
    }
    for project in engine.projects() {
        // The attempts are in the order of time.
        let merges = engine.merges(&project.spec.name).iter().rev().take_while(|merge| merge.at >= since);
        for merge in merges.filter(|merge| merge.state == MergeState::Landed) {
            count(merge.at, |minute| minute.merged += 1);
        }
    }
    minutes
}

/// The newest of many items, without sorting the rest.
struct Newest<'a> {
    most: usize,
    /// A heap with the oldest kept item at the top; the second number keeps the order of items with the same time.
    kept: BinaryHeap<Reverse<(Timestamp, usize)>>,
    spots: Vec<Spot<'a>>,
}

impl<'a> Newest<'a> {
    fn of(most: usize) -> Self {
        Self { most, kept: BinaryHeap::new(), spots: Vec::new() }
    }

    fn offer(&mut self, at: Timestamp, spot: Spot<'a>) {
        if self.kept.len() < self.most {
            self.kept.push(Reverse((at, self.spots.len())));
            self.spots.push(spot);
            return;
        }
        // The new item replaces the oldest.
        let Some(mut oldest) = self.kept.peek_mut() else { return };
        let Reverse((than, place)) = *oldest;
        if at > than {
            *oldest = Reverse((at, place));
            self.spots[place] = spot;
        }
    }

    /// The kept items, newest first.
    fn into_iter(self) -> impl Iterator<Item = Spot<'a>> {
        // The sort key is reversed, so the newest come first.
        let order = self.kept.into_sorted_vec();
        let spots = self.spots;
        order.into_iter().map(move |Reverse((_, place))| spots[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_in_order() {
        let (project, id) = ("p".parse().unwrap(), "t".parse().unwrap());
        let mut newest = Newest::of(3);
        for at in [5, 1, 9, 7, 2, 8] {
            let (title, status) = ("", devstack_dag::record::Status::Todo);
            let updated_at = Timestamp(at);
            let (dependencies, resolves) = (&[][..], None);
            newest.offer(
                updated_at,
                Spot { project: &project, id: &id, title, status, dependencies, resolves, updated_at, newest: None },
            );
        }
        assert_eq!(newest.into_iter().map(|spot| spot.updated_at.0).collect::<Vec<_>>(), [9, 8, 7]);
    }
}
