//! Plans and projects: submitting, showing, cancelling, pausing.

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use devstack_dag::{command::Command, ids::ProjectName};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Api, paging};
use crate::NumberedQuery;
use crate::{
    Origin,
    extract::{Change, OfProject, Params, Raw, name, takes_change},
    openapi::{Draft, Gives, Takes},
};
use devstack_api::{ApiError, dto};
use devstack_config::plan_file;

/// A self-contained plan file, TOML or JSON.
pub(super) struct PlanText(Raw);

impl<S: Send + Sync> FromRequest<S> for PlanText {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Raw::from_request(request, state).await.map(Self)
    }
}

impl Takes for PlanText {
    fn takes(draft: &mut Draft) {
        let example = "[project]\nname = \"shop\"\n\n[agents.dev]\ncommand = [\"sh\", \"-c\", \"true\"]\n\n\
                       [[task]]\nid = \"T-001\"\ntitle = \"Login API\"\nprompt = \"Write it.\"\n";
        let toml = json!({ "type": "string", "description": "a plan file" });
        let json_form = json!({
            "type": "object", "description": "a plan file in JSON, of the same shape", "required": ["project"],
            "properties": { "project": { "type": "object" }, "task": { "type": "array" } },
        });
        draft.body = Some(json!({ "required": true, "content": {
            "application/toml": { "schema": toml, "example": example },
            "application/json": { "schema": json_form },
        } }));
        takes_change(draft);
    }
}

pub(super) async fn submit(
    State(api): State<Api>,
    origin: Origin,
    PlanText(change): PlanText,
) -> Result<Json<dto::PlanAnswer>, ApiError> {
    let body = change.body;
    // A large plan takes a moment to parse: not on a thread that serves other requests.
    let parsed = tokio::task::spawn_blocking(move || {
        let text = std::str::from_utf8(&body).map_err(|_| ApiError::invalid("the plan is not UTF-8 text"))?;
        plan_file::parse("plan", text, &plan_file::Posted).map_err(ApiError::from)
    });
    let plan = parsed.await.map_err(|_| ApiError::internal("reading the plan failed"))??;
    api.backend.submit(plan, origin, change.request).await.map(Json)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlansQuery {
    /// Only submissions of this project.
    project: Option<String>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Entries of a page: 1 to 10,000; default 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

pub(super) async fn list(
    State(api): State<Api>,
    Params(query): Params<PlansQuery>,
) -> Result<Json<dto::PlanList>, ApiError> {
    let query = NumberedQuery {
        project: query.project.map(|project| name(ProjectName::new(&project))).transpose()?,
        task: None,
        after: query.after.as_deref().map(paging::numbered).transpose()?,
        limit: paging::limit(query.limit)?,
    };
    api.backend.plans(query).await.map(Json)
}

/// A plan file in JSON.
pub(super) struct PlanFile(Vec<u8>);

impl IntoResponse for PlanFile {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

impl Gives for PlanFile {
    fn gives(draft: &mut Draft) {
        let shape = json!({ "type": "object", "description": "a plan file in JSON", "required": ["project"] });
        draft.gives("application/json", shape);
    }
}

/// The tasks of a project as a plan file in JSON, which can be submitted again.
pub(super) async fn show(State(api): State<Api>, OfProject(project): OfProject) -> Result<PlanFile, ApiError> {
    let plan = api.backend.plan(project).await?;
    plan_file::to_json(&plan).map(PlanFile).map_err(|e| ApiError::internal(e.to_string()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    /// Only the tasks of this submission; `null`: the whole project.
    plan: Option<u32>,
}

pub(super) async fn cancel(
    State(api): State<Api>,
    OfProject(project): OfProject,
    change: Change<Cancel>,
) -> Result<Json<dto::Answer>, ApiError> {
    let Cancel { plan } = change.body;
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
