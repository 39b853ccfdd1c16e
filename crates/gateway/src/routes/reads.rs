//! All read-only requests, and waiting.

use axum::{Json, extract::State};
use devstack_dag::ids::{ProjectName, TaskId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Api, paging};
use crate::NumberedQuery;
use crate::{
    WaitQuery,
    extract::{OfProject, Params, name},
};
use devstack_api::{ApiError, dto, error::code};

/// The start of a page of a short list, and its length.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// The `next` of the previous page.
    pub(super) after: Option<String>,
    /// Entries of a page: 1 to 10,000; default 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    pub(super) limit: Option<usize>,
}

pub(super) async fn projects(
    State(api): State<Api>,
    Params(query): Params<PageQuery>,
) -> Result<Json<dto::ProjectList>, ApiError> {
    let limit = paging::limit(query.limit)?;
    let all = api.backend.projects().await?;
    let (projects, next) = paging::cut(all, |project| project.name.clone(), query.after.as_deref(), limit)?;
    Ok(Json(dto::ProjectList { next, ..projects.into() }))
}

pub(super) async fn project(
    State(api): State<Api>,
    OfProject(project): OfProject,
) -> Result<Json<dto::ProjectPage>, ApiError> {
    let all = api.backend.projects().await?;
    let missing = || {
        ApiError::not_found(code::NO_PROJECT, format!("there is no project `{project}`"))
            .hint("`devstack project list` shows the projects")
    };
    let found = all.into_iter().find(|known| known.name == project.as_str()).ok_or_else(missing)?;
    Ok(Json(dto::ProjectPage { api_version: dto::V1, project: found }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentsQuery {
    /// Only agents of this project.
    project: Option<String>,
    /// Only agents of this role.
    role: Option<String>,
    /// Only agents that are working on this host.
    host: Option<String>,
    /// Only busy agents, or only idle ones.
    busy: Option<bool>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Entries of a page: 1 to 10,000; default 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

pub(super) async fn agents(
    State(api): State<Api>,
    Params(query): Params<AgentsQuery>,
) -> Result<Json<dto::AgentList>, ApiError> {
    let limit = paging::limit(query.limit)?;
    let mut all = api.backend.agents().await?;
    all.retain(|agent| {
        query.project.as_ref().is_none_or(|project| agent.project == *project)
            && query.role.as_ref().is_none_or(|role| agent.role == *role)
            && (query.host.is_none() || agent.host == query.host)
            && query.busy.is_none_or(|busy| agent.task.is_some() == busy)
    });
    let key = |agent: &dto::Agent| format!("{}/{}", agent.project, agent.name);
    let (agents, next) = paging::cut(all, key, query.after.as_deref(), limit)?;
    Ok(Json(dto::AgentList { next, ..agents.into() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MergesQuery {
    /// Only merges of this project.
    project: Option<String>,
    /// Only merges of tasks with this id.
    task: Option<String>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Entries of a page: 1 to 10,000; default 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

pub(super) async fn merges(
    State(api): State<Api>,
    Params(query): Params<MergesQuery>,
) -> Result<Json<dto::MergeList>, ApiError> {
    let query = NumberedQuery {
        project: query.project.map(|project| name(ProjectName::new(&project))).transpose()?,
        task: query.task.map(|task| name(TaskId::new(&task))).transpose()?,
        after: query.after.as_deref().map(paging::numbered).transpose()?,
        limit: paging::limit(query.limit)?,
    };
    api.backend.merges(query).await.map(Json)
}

pub(super) async fn status(State(api): State<Api>) -> Result<Json<dto::Overview>, ApiError> {
    api.backend.status().await.map(Json)
}

pub(super) async fn healthy() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(api): State<Api>) -> Result<&'static str, ApiError> {
    api.backend.ready().await.map(|()| "ready\n")
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitParams {
    /// The project.
    project: String,
    /// Only these tasks and their dependencies: ids, separated by commas.
    tasks: Option<String>,
    /// Keep waiting while a person must act.
    through_humans: Option<bool>,
}

pub(super) async fn wait(
    State(api): State<Api>,
    Params(query): Params<WaitParams>,
) -> Result<Json<dto::Settled>, ApiError> {
    let ids = |list: String| list.split(',').map(|id| name(TaskId::new(id))).collect::<Result<Vec<_>, _>>();
    let query = WaitQuery {
        project: name(ProjectName::new(&query.project))?,
        tasks: query.tasks.map(ids).transpose()?,
        through_humans: query.through_humans.unwrap_or(false),
    };
    api.backend.wait(query).await.map(Json)
}
