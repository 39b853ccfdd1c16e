//! Tokens, members, joining and renewing.

use axum::{Json, extract::State};

use super::Api;
use crate::gateway::{
    ApiError,
    access::Peer,
    dto,
    extract::{Change, OfToken},
};

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

/// By id, or by the name of a live one.
pub(super) async fn revoke_token(
    State(api): State<Api>,
    OfToken(which): OfToken,
    _change: Change,
) -> Result<Json<dto::TokenPage>, ApiError> {
    api.cluster()?.revoke_token(which).await.map(Json)
}
