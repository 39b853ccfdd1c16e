//! Attempts on a time axis, by agent.
//! Deliberately absent: the drawing.

use crate::pages;
use askama::Template;
use axum::{extract::State, response::Response};
use devstack_dag::ids::ProjectName;
use serde::Deserialize;

use super::{Asked, View, filters};
use crate::{
    extract::{Params, name},
    routes::Api,
};
use devstack_api::ApiError;
use devstack_draw::gantt::{self, Gantt, Options, Span, gantt};

/// The selectable periods, in hours.
const HOURS: [(u64, &str); 6] = [(1, "1 h"), (3, "3 h"), (6, "6 h"), (24, "1 d"), (72, "3 d"), (168, "7 d")];
const HOUR: u64 = 3_600_000;
/// The maximum number of attempts read, and of rows drawn.
const ATTEMPTS: usize = 4_000;
const ROWS: usize = 150;
/// The minimum period, when no attempt is older.
const LEAST: u64 = 5 * 60_000;
/// The margin after the current time, as a fraction of the whole: 1/40.
const AHEAD: u64 = 40;

/// The query of the address.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Wanted {
    hours: Option<u64>,
    project: Option<String>,
}

struct Choice {
    name: &'static str,
    link: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "gantt.html")]
struct Page<'a> {
    timeline: &'a pages::Timeline,
    project: &'a str,
    hours: u64,
    choices: Vec<Choice>,
    gantt: Gantt,
    legend: Vec<(gantt::State, &'static str)>,
}

/// `GET /gantt`.
pub(crate) async fn timeline(
    State(api): State<Api>,
    Params(wanted): Params<Wanted>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let make = async {
        let hours = wanted.hours.unwrap_or(1);
        if !(1..=HOURS[HOURS.len() - 1].0).contains(&hours) {
            return Err(ApiError::invalid("`hours` must be 1 to 168"));
        }
        let project = wanted.project.as_deref().filter(|project| !project.is_empty());
        let chosen = project.map(|project| name(ProjectName::new(project))).transpose()?;
        let seen = api.backend.timeline(chosen, hours * HOUR, ATTEMPTS).await?;
        View::of("Timeline", &page(&seen, project.unwrap_or_default(), hours))
    };
    api.dashboard.page(&asked, make).await
}

fn page<'a>(timeline: &'a pages::Timeline, project: &'a str, hours: u64) -> Page<'a> {
    let link = |span: &Span| format!("/tasks/{}/{}", span.project, span.task);
    let now = timeline.now.0;
    // The period starts with the first attempt.
    let first = timeline.attempts.iter().map(|attempt| attempt.started).min().unwrap_or(0);
    let span = (now.saturating_sub(first) / 20 * 21).clamp(LEAST, hours * HOUR);
    let ahead = span / AHEAD;
    let options = Options {
        from: now.saturating_sub(span - ahead),
        until: now.saturating_add(ahead),
        now,
        link: Some(&link),
        rows: ROWS,
    };
    let choice = |(count, name): (u64, &'static str)| Choice {
        name,
        link: if project.is_empty() {
            format!("/gantt?hours={count}")
        } else {
            format!("/gantt?hours={count}&project={project}")
        },
        is_chosen: count == hours,
    };
    let words = |state| match state {
        gantt::State::Done => "done",
        gantt::State::Returned => "interrupted",
        gantt::State::Failed => "failed",
        gantt::State::Running => "running",
        gantt::State::Unknown => "unknown: its host is silent",
    };
    Page {
        timeline,
        project,
        hours,
        choices: HOURS.into_iter().map(choice).collect(),
        gantt: gantt(&timeline.attempts, &options),
        legend: gantt::State::ALL.map(|state| (state, words(state))).to_vec(),
    }
}
