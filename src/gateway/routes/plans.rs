//! Plans and projects: submitting, showing, cancelling, pausing.

use axum::{
    Json,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use devstack_dag::{command::Command, ids::ProjectName};
use serde::Deserialize;

use super::Api;
use crate::{
    config::plan_file,
    gateway::{
        ApiError, dto,
        extract::{Change, OfProject, Params, name},
    },
};

/// The body is a plan file, TOML or JSON, that stands alone.
pub(super) async fn submit(State(api): State<Api>, change: Change) -> Result<Json<dto::PlanAnswer>, ApiError> {
    let body = change.body;
    // A large plan takes a moment of pure computing: not on the thread that answers others.
    let parsed = tokio::task::spawn_blocking(move || {
        let text = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("the plan is not UTF-8 text"))?;
        plan_file::parse("plan", text, &plan_file::Posted).map_err(ApiError::from)
    });
    let plan = parsed.await.map_err(|_| ApiError::internal("reading the plan failed"))??;
    api.backend.submit(plan, change.request).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    project: Option<String>,
}

impl ListQuery {
    pub(super) fn project(self) -> Result<Option<ProjectName>, ApiError> {
        self.project.map(|project| name(ProjectName::new(&project))).transpose()
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<dto::PlanList>, ApiError> {
    Ok(Json(api.backend.plans(query.project()?).await?.into()))
}

/// The project's tasks as a plan file in JSON, which can be posted again.
pub(super) async fn show(State(api): State<Api>, OfProject(project): OfProject) -> Result<Response, ApiError> {
    let plan = api.backend.plan(project).await?;
    let body = plan_file::to_json(&plan).map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    plan: Option<u32>,
}

pub(super) async fn cancel(
    State(api): State<Api>,
    OfProject(project): OfProject,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    let Cancel { plan } = change.json()?;
    api.backend.ask(Command::CancelPlan { project, plan }, change.request).await.map(Json)
}

pub(super) async fn pause(
    State(api): State<Api>,
    OfProject(project): OfProject,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    api.backend.ask(Command::PauseProject(project), change.request).await.map(Json)
}

pub(super) async fn resume(
    State(api): State<Api>,
    OfProject(project): OfProject,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    api.backend.ask(Command::ResumeProject(project), change.request).await.map(Json)
}
