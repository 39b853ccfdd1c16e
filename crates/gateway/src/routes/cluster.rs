//! Tokens, members, joining and renewing, and the audit log.

use axum::{Json, extract::State};

use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use crate::{
    access::Peer,
    extract::{Change, OfToken, Params},
};
use devstack_api::{ApiError, dto};
use devstack_members::audit::{AuditPage, AuditQuery};

pub(super) async fn join(State(api): State<Api>, change: Change<dto::Join>) -> Result<Json<dto::Joined>, ApiError> {
    api.cluster()?.join(change.body).await.map(Json)
}

pub(super) async fn renew(
    State(api): State<Api>,
    Peer(peer): Peer,
    change: Change<dto::Renew>,
) -> Result<Json<dto::Renewed>, ApiError> {
    api.cluster()?.renew(peer, change.body.request).await.map(Json)
}

pub(super) async fn show(State(api): State<Api>) -> Result<Json<dto::ClusterPage>, ApiError> {
    Ok(Json(api.cluster()?.page()))
}

pub(super) async fn tokens(State(api): State<Api>) -> Result<Json<dto::TokenList>, ApiError> {
    Ok(Json(api.cluster()?.tokens()))
}

pub(super) async fn create_token(
    State(api): State<Api>,
    change: Change<dto::NewToken>,
) -> Result<Json<dto::CreatedToken>, ApiError> {
    api.cluster()?.create_token(change.body).await.map(Json)
}

/// The default and maximum number of lines of a page.
const CHANGES: (usize, usize) = (100, 1000);

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesQuery {
    /// Only changes of the token or node with this name.
    who: Option<String>,
    /// Only refused changes, or only completed ones.
    refused: Option<bool>,
    /// The `next` of the previous page: only older lines.
    after: Option<u64>,
    /// Entries of a page: 1 to 1,000; default 100.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

pub(super) async fn changes(
    State(api): State<Api>,
    Params(query): Params<ChangesQuery>,
) -> Result<Json<dto::ChangeList>, ApiError> {
    let limit = query.limit.unwrap_or(CHANGES.0);
    if !(1..=CHANGES.1).contains(&limit) {
        return Err(ApiError::invalid(format!("`limit` is {limit}; it must be 1 to {}", CHANGES.1)));
    }
    let Some(audit) = api.guards.audit.clone() else { return Ok(Json(Vec::new().into())) };
    let query = AuditQuery { after: query.after, who: query.who, refused: query.refused, limit };
    let read = tokio::task::spawn_blocking(move || audit.read(&query)).await;
    let failed = |error: &dyn std::fmt::Display| ApiError::internal(format!("the audit log cannot be read: {error}"));
    let AuditPage { entries, next } = read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    let changes: Vec<dto::Change> = entries.into_iter().map(dto::Change::from).collect();
    Ok(Json(dto::ChangeList { next: next.map(|next| next.to_string()), ..changes.into() }))
}

/// Finds a token by its id, or by the name of a live token.
pub(super) async fn revoke_token(
    State(api): State<Api>,
    OfToken(which): OfToken,
    _change: Change,
) -> Result<Json<dto::TokenPage>, ApiError> {
    api.cluster()?.revoke_token(which).await.map(Json)
}
