//! Everything that is only looked at, and waiting.

use axum::{Json, extract::State};
use devstack_dag::ids::{ProjectName, TaskId};
use serde::Deserialize;

use super::{Api, plans::ListQuery};
use crate::gateway::{
    ApiError, WaitQuery, dto,
    error::code,
    extract::{OfProject, Params, name},
};

pub(super) async fn projects(State(api): State<Api>) -> Result<Json<dto::ProjectList>, ApiError> {
    Ok(Json(api.backend.projects().await?.into()))
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

pub(super) async fn agents(State(api): State<Api>) -> Result<Json<dto::AgentList>, ApiError> {
    Ok(Json(api.backend.agents().await?.into()))
}

pub(super) async fn merges(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<dto::MergeList>, ApiError> {
    Ok(Json(api.backend.merges(query.project()?).await?.into()))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitParams {
    project: String,
    /// Comma-separated ids.
    tasks: Option<String>,
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
