//! Extractors for paths, queries and bodies. Every mistake is answered with the error object.
//! Deliberately absent: authentication ([`access`](super::access)).

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{Extensions, HeaderMap, request::Parts},
};
use devstack_dag::ids::{AttemptId, HostName, ProjectName, TaskId, TaskRef};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    ApiError, RequestId,
    access::Identity,
    error::code,
    openapi::{Draft, NAME, Takes},
};
use devstack_config::problem::Problem;

/// The header that makes a repetition harmless.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The maximum length of a key, in bytes, as in the store.
const KEY_MAX: usize = 256;
/// How much of a wrong query an error repeats, in characters: enough for some names of fields.
const QUERY_SAID_MAX: usize = 200;

/// The JSON body of a change, and its idempotency key. An empty body counts as `{}`.
pub(super) struct Change<T = Nothing> {
    /// The parsed body.
    pub(super) body: T,
    /// The key with the hash of method, path and body.
    pub(super) request: Option<RequestId>,
}

/// The body of a change that needs only its path: `{}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Change<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Raw { body, request } = Raw::from_request(request, state).await?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        let body = serde_json::from_slice(body)
            .map_err(|e| ApiError::invalid(format!("the body does not fit this request: {e}")))?;
        Ok(Self { body, request })
    }
}

impl<T: ToSchema> Takes for Change<T> {
    fn takes(draft: &mut Draft) {
        let schema = draft.request::<T>();
        // If every field is optional, the body is optional.
        let required = draft.schemas.get(T::name().as_ref()).is_some_and(|schema| schema.get("required").is_some());
        draft.body = Some(json!({ "required": required, "content": { "application/json": { "schema": schema } } }));
        takes_change(draft);
    }
}

/// The parameters and refusals that all changes share.
pub(super) fn takes_change(draft: &mut Draft) {
    let description =
        "A new key for this change makes it safe to repeat: the same key and request are carried out once.";
    let schema = json!({ "type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": "^[!-~]{1,256}$" });
    draft.header("Idempotency-Key", description, schema);
    draft.statuses.extend([409, 413]);
}

/// The raw body of a change, and its idempotency key.
pub(super) struct Raw {
    /// The body.
    pub(super) body: Bytes,
    /// The key with the hash of method, path and body.
    pub(super) request: Option<RequestId>,
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let key = key(request.headers(), request.extensions())?;
        let place = format!("{} {}\n", request.method(), request.uri().path());
        let body = Bytes::from_request(request, state).await.map_err(unreadable)?;
        let request = key.map(|key| {
            let mut hash = blake3::Hasher::new();
            hash.update(place.as_bytes()).update(&body);
            RequestId { key, body_hash: *hash.finalize().as_bytes() }
        });
        Ok(Self { body, request })
    }
}

/// Reads the idempotency key of a request in its stored form.
pub(super) fn key(headers: &HeaderMap, extensions: &Extensions) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=KEY_MAX).contains(&key.len()) => Ok(Some(scoped(extensions, key))),
        _ => Err(ApiError::invalid(format!("an Idempotency-Key has 1 to {KEY_MAX} visible ASCII characters"))),
    }
}

/// Combines a key with its caller, so that callers cannot share keys.
fn scoped(extensions: &Extensions, key: &str) -> String {
    scoped_to(extensions.get::<Identity>().map_or("", |identity| identity.0.as_str()), key)
}

/// Combines a key with the caller `who`.
pub(super) fn scoped_to(who: &str, key: &str) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(who.as_bytes()).update(b"\n").update(key.as_bytes());
    hash.finalize().to_hex().to_string()
}

fn unreadable(rejection: BytesRejection) -> ApiError {
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        let problem = Problem::new(code::TOO_LARGE, "the body is larger than this request allows");
        return ApiError::new(413, problem.hint("split it, or raise the limit in [limits] of node.toml"));
    }
    ApiError::invalid(format!("the body cannot be read: {}", rejection.body_text()))
}

/// The idempotency key of a change with a streamed body, which the backend hashes.
pub(super) struct Key(pub(super) Option<RequestId>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let place = format!("{} {}\n", parts.method, parts.uri.path());
        let body_hash = *blake3::hash(place.as_bytes()).as_bytes();
        Ok(Self(key(&parts.headers, &parts.extensions)?.map(|key| RequestId { key, body_hash })))
    }
}

impl Takes for Key {
    fn takes(draft: &mut Draft) {
        takes_change(draft);
    }
}

/// A streamed body: a git bundle.
pub(super) struct Bundle(pub(super) Body);

impl<S: Send + Sync> FromRequest<S> for Bundle {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        Ok(Self(request.into_body()))
    }
}

impl Takes for Bundle {
    fn takes(draft: &mut Draft) {
        let schema = json!({ "type": "string", "format": "binary" });
        draft.body = Some(json!({ "required": true, "content": { "application/x-git-bundle": { "schema": schema } } }));
    }
}

/// The query; a mistake is answered with the error object.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let wrong = |e: axum::extract::rejection::QueryRejection| ApiError::invalid(wrong_query(&e.body_text()));
        Query::from_request_parts(parts, state).await.map(|Query(value)| Self(value)).map_err(wrong)
    }
}

impl<T: ToSchema> Takes for Params<T> {
    fn takes(draft: &mut Draft) {
        draft.query::<T>();
    }
}

/// Describes the mistake in a query, without the wording of the parser. Bounded, because the text repeats the input.
fn wrong_query(said: &str) -> String {
    let said = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(said);
    let number = ["invalid digit found in string", "number too large to fit in target type"];
    let number = number.into_iter().chain(["cannot parse integer from empty string"]);
    let said = match number.into_iter().find_map(|tail| said.strip_suffix(tail)) {
        Some(field) => format!("{field}must be a whole number"),
        None => said.chars().take(QUERY_SAID_MAX).collect(),
    };
    format!("cannot read the query: {said}")
}

#[derive(Deserialize)]
struct TaskPath {
    project: String,
    id: String,
}

#[derive(Deserialize)]
struct ProjectPath {
    project: String,
}

#[derive(Deserialize)]
struct HostPath {
    host: String,
}

#[derive(Deserialize)]
struct ActionPath {
    action: String,
}

/// Named parameters of a path; the path can have others.
async fn named<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<T, ApiError> {
    Path::<T>::from_request_parts(parts, state).await.map(|Path(named)| named).map_err(bad_path)
}

/// `…/{project}/{id}`.
pub(super) struct OfTask(pub(super) TaskRef);

impl<S: Send + Sync> FromRequestParts<S> for OfTask {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let TaskPath { project, id } = named(parts, state).await?;
        Ok(Self(TaskRef { project: name(ProjectName::new(&project))?, id: name(TaskId::new(&id))? }))
    }
}

/// `…/{project}`.
pub(super) struct OfProject(pub(super) ProjectName);

impl<S: Send + Sync> FromRequestParts<S> for OfProject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let ProjectPath { project } = named(parts, state).await?;
        Ok(Self(name(ProjectName::new(&project))?))
    }
}

/// `…/{host}`.
pub(super) struct OfHost(pub(super) HostName);

impl<S: Send + Sync> FromRequestParts<S> for OfHost {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let HostPath { host } = named(parts, state).await?;
        Ok(Self(name(HostName::new(&host))?))
    }
}

/// `…/{id}` of a token, or the name of a live token.
pub(super) struct OfToken(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for OfToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Path::<String>::from_request_parts(parts, state).await.map(|Path(token)| Self(token)).map_err(bad_path)
    }
}

impl Takes for OfToken {
    fn takes(draft: &mut Draft) {
        draft.path("id", "The id of a token, or the name of a live token.", "^[^/]{1,256}$", "ci");
    }
}

impl Takes for OfTask {
    fn takes(draft: &mut Draft) {
        OfProject::takes(draft);
        draft.path("id", "The task's id in the project.", NAME, "T-001");
    }
}

impl Takes for OfProject {
    fn takes(draft: &mut Draft) {
        draft.path("project", "The project's name.", NAME, "shop");
    }
}

impl Takes for OfHost {
    fn takes(draft: &mut Draft) {
        draft.path("host", "The host's name.", NAME, "box1");
    }
}

/// `…/{action}`, after the target of the action.
pub(super) struct OfAction(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for OfAction {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let ActionPath { action } = named(parts, state).await?;
        Ok(Self(action))
    }
}

/// `…/{project}/{id}/{number}`.
pub(super) struct OfAttempt(pub(super) AttemptId);

impl<S: Send + Sync> FromRequestParts<S> for OfAttempt {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<(String, String, u32)>::from_request_parts(parts, state).await.map_err(bad_path)?;
        let Path((project, id, number)) = path;
        let task = TaskRef { project: name(ProjectName::new(&project))?, id: name(TaskId::new(&id))? };
        Ok(Self(AttemptId { task, number }))
    }
}

fn bad_path(e: axum::extract::rejection::PathRejection) -> ApiError {
    ApiError::invalid(format!("cannot read the path: {}", e.body_text()))
}

/// Parses a name; the error object explains an invalid name.
pub(super) fn name<T>(parsed: Result<T, devstack_dag::ids::InvalidName>) -> Result<T, ApiError> {
    parsed.map_err(|e| ApiError::invalid(e.to_string()))
}

/// `project/id`.
pub(super) fn task_ref(text: &str) -> Result<TaskRef, ApiError> {
    let (project, id) =
        text.split_once('/').ok_or_else(|| ApiError::invalid(format!("`{text}` is not `project/id`")))?;
    Ok(TaskRef { project: name(ProjectName::new(project))?, id: name(TaskId::new(id))? })
}
