//! The first page: status, what needs attention, running attempts, and throughput.
//! Deliberately absent: anything that needs scrolling: each list shows its head, with a link to the full list.

use crate::pages;
use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    Asked, View, filters,
    format::{Badge, Took, When, dollars, grouped},
};
use crate::{Backend, routes::Api};
use devstack_api::{ApiError, dto};

/// The maximum number of entries that need attention.
const WAITING_SHOWN: usize = 12;
/// The maximum number of hosts and projects.
const LISTED: usize = 12;
/// The chart of the throughput: a bar for each minute.
const BAR: usize = 8;
const PACE_HEIGHT: u32 = 48;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page<'a> {
    glance: &'a pages::Glance,
    may_act: bool,
    counts: Vec<(Badge, &'a str, u64)>,
    parts: Vec<Part>,
    total: u64,
    waiting: &'a [dto::Waiting],
    waiting_more: usize,
    projects: Vec<Project<'a>>,
    projects_more: usize,
    hosts: &'a [dto::Host],
    hosts_more: usize,
    bars: Vec<Bar>,
    sums: pages::Minute,
    pace_width: usize,
}

impl Page<'_> {
    fn when(&self, at: &dto::Time) -> When {
        When { at: *at, now: self.glance.now }
    }

    /// The question of the next step, and its label.
    fn next(&self, waiting: &dto::Waiting) -> Option<(String, &'static str)> {
        if !self.may_act {
            return None;
        }
        let Some(task) = &waiting.task else {
            let resumes = waiting.command.starts_with("devstack project resume");
            return resumes.then(|| (format!("/projects/{}/act/resume", waiting.project), "Resume"));
        };
        // The engine's command names the action.
        let word = waiting.command.strip_prefix("devstack task ")?.split(' ').next()?;
        let action = super::actions::of_task(word)?;
        Some((format!("/tasks/{task}/act/{}", action.word), action.verb))
    }

    fn took(&self, work: &pages::Work) -> Took {
        Took { from: work.started_at, until: work.ended_at, now: self.glance.now }
    }

    fn cost(&self) -> String {
        dollars(self.glance.overview.usage.cost_usd)
    }

    fn tokens(&self, tokens: &Option<u64>) -> String {
        tokens.map_or_else(|| "–".to_owned(), grouped)
    }
}

/// A part of a bar of 1000 units.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    x: u64,
    width: u64,
}

struct Project<'a> {
    project: &'a dto::Project,
    parts: Vec<Part>,
    done: u64,
    total: u64,
    cost: String,
    budget: Option<String>,
}

/// A bar of the throughput chart: failed attempts are stacked on successful ones.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    x: usize,
    minutes_ago: usize,
    done: (u32, u32),
    failed: (u32, u32),
    minute: pages::Minute,
}

/// `GET /`.
pub(crate) async fn overview(State(api): State<Api>, asked: Asked) -> Result<Response, ApiError> {
    api.dashboard.page(&asked, view(&*api.backend, asked.may_act())).await
}

/// The page, with or without actions.
pub(super) async fn view(backend: &dyn Backend, may_act: bool) -> Result<View, ApiError> {
    let glance = backend.glance().await?;
    View::of("Overview", &page(&glance, may_act))
}

fn page(glance: &pages::Glance, may_act: bool) -> Page<'_> {
    let overview = &glance.overview;
    let ordered = dto::STATUSES.iter().map(|status| status.as_str());
    let counts: Vec<_> =
        ordered.map(|word| (Badge::of(word), word, overview.tasks.get(word).copied().unwrap_or_default())).collect();
    let shown = overview.waiting.len().min(WAITING_SHOWN);
    let listed = glance.projects.len().min(LISTED);
    let hosts = overview.hosts.len().min(LISTED);
    Page {
        glance,
        may_act,
        parts: parts(&overview.tasks),
        total: overview.tasks.values().sum(),
        counts,
        waiting: &overview.waiting[..shown],
        waiting_more: overview.waiting.len() - shown,
        projects: glance.projects[..listed].iter().map(project).collect(),
        projects_more: glance.projects.len() - listed,
        hosts: &overview.hosts[..hosts],
        hosts_more: overview.hosts.len() - hosts,
        bars: bars(&glance.pace),
        sums: glance.pace.iter().fold(pages::Minute::default(), |sum, minute| pages::Minute {
            done: sum.done + minute.done,
            failed: sum.failed + minute.failed,
            merged: sum.merged + minute.merged,
        }),
        pace_width: glance.pace.len() * BAR,
    }
}

fn project(project: &dto::Project) -> Project<'_> {
    Project {
        parts: parts(&project.tasks),
        done: project.tasks.get("COMPLETED").copied().unwrap_or_default(),
        total: project.tasks.values().sum(),
        cost: dollars(project.usage.cost_usd),
        budget: project.budget_usd.map(|budget| dollars(Some(budget))),
        project,
    }
}

/// Statuses as parts of a bar of 1000 units, finished ones first. Even the smallest part is visible.
fn parts(counts: &std::collections::BTreeMap<String, u64>) -> Vec<Part> {
    const ORDER: [&str; 8] = ["COMPLETED", "APPROVED", "REVIEW", "TESTING", "WIP", "BLOCKED", "REJECTED", "TODO"];
    let total: u64 = counts.values().sum();
    let mut parts = Vec::new();
    let mut before = 0;
    for word in ORDER {
        let count = counts.get(word).copied().unwrap_or_default();
        if count == 0 {
            continue;
        }
        let (x, end) = (before * 1000 / total, (before + count) * 1000 / total);
        parts.push(Part { name: word.to_lowercase(), x, width: (end - x).max(4) });
        before += count;
    }
    parts
}

/// Bars scaled to the busiest minute.
fn bars(pace: &[pages::Minute]) -> Vec<Bar> {
    let highest = pace.iter().map(|minute| minute.done + minute.failed).max().unwrap_or_default().max(1);
    let height = |count: u32| (count * PACE_HEIGHT).div_ceil(highest).min(PACE_HEIGHT);
    let bar = |(at, minute): (usize, &pages::Minute)| {
        let (done, all) = (height(minute.done), height(minute.done + minute.failed));
        Bar {
            x: at * BAR,
            minutes_ago: pace.len() - 1 - at,
            done: (PACE_HEIGHT - done, done),
            failed: (PACE_HEIGHT - all, all - done),
            minute: *minute,
        }
    };
    pace.iter().enumerate().map(bar).filter(|bar| bar.minute.done + bar.minute.failed > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_a_part_for_everything_there_is() {
        let counts = [("TODO".to_owned(), 9990), ("COMPLETED".to_owned(), 1), ("WIP".to_owned(), 9)].into();
        let parts = parts(&counts);
        let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["completed", "wip", "todo"]);
        assert!(parts.iter().all(|part| part.width >= 4), "{parts:?}");
        assert!(super::parts(&[("TODO".to_owned(), 0)].into()).is_empty());
    }

    #[test]
    fn bars_stand_on_the_ground_and_stay_below_the_top() {
        let mut pace = vec![pages::Minute::default(); 60];
        pace[59] = pages::Minute { done: 3, failed: 1, merged: 0 };
        pace[0] = pages::Minute { done: 1, failed: 0, merged: 0 };
        let bars = bars(&pace);
        assert_eq!(bars.len(), 2);
        assert_eq!((bars[1].failed.0, bars[1].done.0 + bars[1].done.1), (0, PACE_HEIGHT));
        assert_eq!((bars[0].minutes_ago, bars[1].minutes_ago), (59, 0));
        assert_eq!(bars[1].failed.0 + bars[1].failed.1, bars[1].done.0);
    }
}
