//! Tasks as columns by status, and as a list with filters and pages.
//! Deliberately absent: dragging. The engine decides the next status of a task.

use crate::pages;
use askama::Template;
use axum::{extract::State, response::Response};
use devstack_dag::{
    ids::{ProjectName, TaskRef},
    record::Status,
};
use serde::Deserialize;

use super::{Asked, View, filters, format::When, now};
use crate::{
    Backend,
    extract::{Params, name, task_ref},
    routes::Api,
};
use crate::{TaskFilter, TaskQuery};
use devstack_api::{ApiError, dto};

/// The maximum number of cards in a column; the list shows more.
const CARDS: usize = 30;
/// The number of tasks on a page of the list.
const ROWS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    project: Option<String>,
    status: Option<String>,
    text: Option<String>,
    after: Option<String>,
    /// The result of the last action; the shell shows it.
    #[serde(rename = "said")]
    _said: Option<String>,
}

impl Chosen {
    /// A form sends an empty field for no choice.
    fn project(&self) -> Result<Option<ProjectName>, ApiError> {
        self.project.as_deref().filter(|text| !text.is_empty()).map(|text| name(ProjectName::new(text))).transpose()
    }

    fn status(&self) -> Result<Option<Status>, ApiError> {
        let parse = |word: &str| {
            let known: Vec<&str> = dto::STATUSES.iter().map(|status| status.as_str()).collect();
            dto::parse_status(word)
                .ok_or_else(|| ApiError::invalid("unknown status").hint(format!("one of {}", known.join(", "))))
        };
        self.status.as_deref().filter(|text| !text.is_empty()).map(parse).transpose()
    }

    fn after(&self) -> Result<Option<TaskRef>, ApiError> {
        self.after.as_deref().filter(|text| !text.is_empty()).map(task_ref).transpose()
    }
}

#[derive(Template)]
#[template(path = "board.html")]
struct Page {
    board: pages::Board,
    project: Option<String>,
}

impl Page {
    fn when(&self, at: &dto::Time) -> When {
        When { at: *at, now: self.board.now }
    }

    fn more(&self, column: &pages::Column) -> u64 {
        column.count - column.tasks.len() as u64
    }

    fn total(&self) -> u64 {
        self.board.columns.iter().map(|column| column.count).sum()
    }

    fn is_chosen(&self, project: &str) -> bool {
        self.project.as_deref() == Some(project)
    }
}

/// `GET /board`.
pub(crate) async fn board(
    State(api): State<Api>,
    asked: Asked,
    Params(chosen): Params<Chosen>,
) -> Result<Response, ApiError> {
    let project = chosen.project()?;
    api.dashboard.page(&asked, view(&*api.backend, project)).await
}

/// The board of one project, or of all.
pub(super) async fn view(backend: &dyn Backend, project: Option<ProjectName>) -> Result<View, ApiError> {
    let board = backend.board(project.clone(), CARDS).await?;
    let title = project.as_ref().map_or_else(|| "Board".to_owned(), |project| format!("Board of {project}"));
    View::of(title, &Page { board, project: project.map(|project| project.to_string()) })
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct List {
    tasks: Vec<dto::Task>,
    projects: Vec<String>,
    project: String,
    status: String,
    text: String,
    statuses: Vec<&'static str>,
    /// The cursor of the next page.
    next: Option<String>,
    is_first: bool,
    now: dto::Time,
}

impl List {
    fn when(&self, at: &dto::Time) -> When {
        When { at: *at, now: self.now }
    }
}

/// `GET /tasks`.
pub(crate) async fn tasks(
    State(api): State<Api>,
    asked: Asked,
    Params(chosen): Params<Chosen>,
) -> Result<Response, ApiError> {
    let (project, status, after) = (chosen.project()?, chosen.status()?, chosen.after()?);
    let text = chosen.text.unwrap_or_default().trim().to_owned();
    let make = async {
        let is_first = after.is_none();
        let named = project.as_ref().map(ToString::to_string).unwrap_or_default();
        let filter = TaskFilter { text: Some(text.clone()).filter(|text| !text.is_empty()), ..TaskFilter::default() };
        let query = TaskQuery { project, statuses: status.into_iter().collect(), filter, after, limit: ROWS };
        let dto::TaskList { tasks, next, .. } = api.backend.tasks(query).await?;
        let projects = api.backend.projects().await?.into_iter().map(|project| project.name).collect();
        let list = List {
            tasks,
            projects,
            project: named,
            status: status.map(|status| status.to_string()).unwrap_or_default(),
            text,
            statuses: dto::STATUSES.iter().map(|status| status.as_str()).collect(),
            next,
            is_first,
            now: now(),
        };
        View::of("Tasks", &list)
    };
    api.dashboard.page(&asked, make).await
}
