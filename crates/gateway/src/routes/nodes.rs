//! Transfers of agent hosts on other machines: commits, texts, results, logs. The certificate identifies the host.
//! Deliberately absent: permissions of a host (the backend asks the engine).

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    response::Response,
};
use devstack_cluster::NodeName;
use devstack_dag::ids::BlobId;
use serde::Deserialize;

use super::{
    Api,
    repos::{commit, download, stream},
};
use crate::{
    Nodes, Wanted,
    access::Peer,
    extract::{OfAttempt, OfProject, Params},
};
use devstack_api::{ApiError, dto};

/// Selects commits, and the offset in their bundle.
#[derive(Debug, Deserialize)]
pub(super) struct BundleQuery {
    want: Option<String>,
    tip: Option<String>,
    have: Option<String>,
    #[serde(default)]
    from: u64,
}

impl BundleQuery {
    fn wanted(&self) -> Result<Wanted, ApiError> {
        let have = self.have.as_deref().map(commit).transpose()?;
        match (&self.want, &self.tip, have) {
            (Some(head), None, have) => Ok(Wanted::History { head: commit(head)?, have }),
            (None, Some(tip), Some(have)) => Ok(Wanted::Tip { tip: commit(tip)?, have }),
            _ => Err(ApiError::invalid("give `want`, or `tip` and `have`")),
        }
    }
}

/// The interface for this host, unless it sends too many requests. A correct host retries later.
fn nodes<'a>(api: &'a Api, host: &NodeName) -> Result<&'a dyn Nodes, ApiError> {
    if let Err(wait) = api.guards.throttle.admit_member(host.as_str()) {
        let message = format!("this host sends too many requests; try again in {} ms", wait.as_millis());
        let hint = "the limit is member_requests in [limits] of the Taskmaster";
        return Err(ApiError::unavailable(message).hint(hint));
    }
    api.backend.nodes().ok_or_else(|| ApiError::unavailable("this node serves no agent hosts"))
}

pub(super) async fn repository(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfProject(project): OfProject,
) -> Result<Json<dto::NodeRepository>, ApiError> {
    nodes(&api, &peer.name)?.repository(&peer.name, project).await.map(Json)
}

pub(super) async fn bundle(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfProject(project): OfProject,
    Params(query): Params<BundleQuery>,
) -> Result<Response, ApiError> {
    let found = nodes(&api, &peer.name)?.bundle(&peer.name, project, query.wanted()?).await?;
    download(&found, query.from).await
}

pub(super) async fn blob(State(api): State<Api>, Peer(peer): Peer, Path(id): Path<String>) -> Result<Bytes, ApiError> {
    let id = blake3::Hash::from_hex(id).map_err(|_| ApiError::invalid("a blob id is 64 hexadecimal digits"))?;
    nodes(&api, &peer.name)?.blob(&peer.name, BlobId(*id.as_bytes())).await.map(Bytes::from)
}

pub(super) async fn result(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfAttempt(attempt): OfAttempt,
    Params(part): Params<dto::Part>,
    body: Body,
) -> Result<Json<dto::Received>, ApiError> {
    nodes(&api, &peer.name)?.result(&peer.name, attempt, part, stream(body)).await.map(Json)
}

pub(super) async fn shipped_log(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfAttempt(attempt): OfAttempt,
    body: Body,
) -> Result<(), ApiError> {
    nodes(&api, &peer.name)?.shipped_log(&peer.name, attempt, stream(body)).await
}

pub(super) async fn live_log(
    State(api): State<Api>,
    Peer(peer): Peer,
    Path(channel): Path<u64>,
    body: Body,
) -> Result<(), ApiError> {
    nodes(&api, &peer.name)?.live_log(&peer.name, channel, stream(body)).await
}
