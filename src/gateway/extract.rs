//! Reading requests: paths, queries and bodies, every mistake answered with the error object.
//! Deliberately absent: who asks ([`access`](super::access)).

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{HeaderMap, request::Parts},
};
use devstack_dag::ids::{AttemptId, HostName, ProjectName, TaskId, TaskRef};
use serde::de::DeserializeOwned;

use super::{ApiError, RequestId, error::code};
use crate::config::problem::Problem;

/// The header that makes a repetition harmless.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest key, in bytes: as the store keeps it.
const KEY_MAX: usize = 256;
/// How much of a wrong query is repeated, in characters: some names of fields.
const QUERY_SAID_MAX: usize = 200;

/// The body of a change and its idempotency key.
pub(super) struct Change {
    /// The body.
    pub(super) body: Bytes,
    /// The key with the hash of method, path and body.
    pub(super) request: Option<RequestId>,
}

impl Change {
    /// The body as JSON; an empty one is `{}`.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body)
            .map_err(|e| ApiError::invalid(format!("the body is not what this request takes: {e}")))
    }
}

impl<S: Send + Sync> FromRequest<S> for Change {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let key = key(request.headers())?;
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

/// The idempotency key of a request.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=KEY_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(ApiError::invalid(format!("an Idempotency-Key has 1 to {KEY_MAX} visible ASCII characters"))),
    }
}

fn unreadable(rejection: BytesRejection) -> ApiError {
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        let problem = Problem::new(code::TOO_LARGE, "the body is larger than this request takes");
        return ApiError::new(413, problem.hint("split it, or raise the limit in [limits] of node.toml"));
    }
    ApiError::invalid(format!("the body cannot be read: {}", rejection.body_text()))
}

/// The query, refused with the error object.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let wrong = |e: axum::extract::rejection::QueryRejection| ApiError::invalid(wrong_query(&e.body_text()));
        Query::from_request_parts(parts, state).await.map(|Query(value)| Self(value)).map_err(wrong)
    }
}

/// What a query has wrong, without the words of the library that read it. Bounded: it repeats what was sent.
fn wrong_query(said: &str) -> String {
    let said = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(said);
    let number = ["invalid digit found in string", "number too large to fit in target type"];
    let number = number.into_iter().chain(["cannot parse integer from empty string"]);
    let said = match number.into_iter().find_map(|tail| said.strip_suffix(tail)) {
        Some(field) => format!("{field}it must be a whole number"),
        None => said.chars().take(QUERY_SAID_MAX).collect(),
    };
    format!("the query cannot be understood: {said}")
}

/// `…/{project}/{id}`.
pub(super) struct OfTask(pub(super) TaskRef);

impl<S: Send + Sync> FromRequestParts<S> for OfTask {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((project, id)) = Path::<(String, String)>::from_request_parts(parts, state).await.map_err(bad_path)?;
        Ok(Self(TaskRef { project: name(ProjectName::new(&project))?, id: name(TaskId::new(&id))? }))
    }
}

/// `…/{project}`.
pub(super) struct OfProject(pub(super) ProjectName);

impl<S: Send + Sync> FromRequestParts<S> for OfProject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(project) = Path::<String>::from_request_parts(parts, state).await.map_err(bad_path)?;
        Ok(Self(name(ProjectName::new(&project))?))
    }
}

/// `…/{host}`.
pub(super) struct OfHost(pub(super) HostName);

impl<S: Send + Sync> FromRequestParts<S> for OfHost {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(host) = Path::<String>::from_request_parts(parts, state).await.map_err(bad_path)?;
        Ok(Self(name(HostName::new(&host))?))
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
    ApiError::invalid(format!("the path cannot be understood: {}", e.body_text()))
}

/// A name, or the error object that says why it is none.
pub(super) fn name<T>(parsed: Result<T, devstack_dag::ids::InvalidName>) -> Result<T, ApiError> {
    parsed.map_err(|e| ApiError::invalid(e.to_string()))
}
