//! What agent hosts on other machines fetch and bring: commits, texts, results, logs. Their certificate says who asks.
//! Deliberately absent: who may have what (the backend asks the engine).

use std::io::SeekFrom;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use devstack_dag::ids::{BlobId, CommitId};
use futures::StreamExt;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::Api;
use crate::gateway::{
    ApiError, ByteStream, Nodes, Wanted,
    access::Peer,
    dto::{self, DIGEST, SIZE},
    extract::{OfAttempt, OfProject, Params},
};

/// Bytes read of a file at once.
const CHUNK: usize = 256 << 10;

/// Which commits, and from which byte of their bundle on.
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
        let commit = |text: &String| {
            text.parse::<CommitId>().map_err(|_| ApiError::invalid("a commit is 40 hexadecimal digits"))
        };
        let have = self.have.as_ref().map(commit).transpose()?;
        match (&self.want, &self.tip, have) {
            (Some(head), None, have) => Ok(Wanted::History { head: commit(head)?, have }),
            (None, Some(tip), Some(have)) => Ok(Wanted::Tip { tip: commit(tip)?, have }),
            _ => Err(ApiError::invalid("a bundle is asked for by `want`, or by `tip` and `have`")),
        }
    }
}

fn nodes(api: &Api) -> Result<&dyn Nodes, ApiError> {
    api.backend.nodes().ok_or_else(|| ApiError::unavailable("this node serves no agent hosts"))
}

fn stream(body: Body) -> ByteStream {
    body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)).boxed()
}

pub(super) async fn repository(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfProject(project): OfProject,
) -> Result<Json<dto::NodeRepository>, ApiError> {
    nodes(&api)?.repository(&peer.name, project).await.map(Json)
}

pub(super) async fn bundle(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfProject(project): OfProject,
    Params(query): Params<BundleQuery>,
) -> Result<Response, ApiError> {
    let found = nodes(&api)?.bundle(&peer.name, project, query.wanted()?).await?;
    let unreadable = |error: std::io::Error| ApiError::internal(format!("the bundle cannot be read: {error}"));
    let mut file = tokio::fs::File::open(&found.path).await.map_err(unreadable)?;
    file.seek(SeekFrom::Start(query.from)).await.map_err(unreadable)?;
    let chunks = futures::stream::try_unfold(file, |mut file| async move {
        let mut buffer = vec![0; CHUNK];
        let read = file.read(&mut buffer).await?;
        buffer.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(buffer), file)))
    });
    let digest = blake3::Hash::from_bytes(found.digest).to_hex().to_string();
    Ok(([(DIGEST, digest), (SIZE, found.size.to_string())], Body::from_stream(chunks)).into_response())
}

pub(super) async fn blob(State(api): State<Api>, Peer(peer): Peer, Path(id): Path<String>) -> Result<Bytes, ApiError> {
    let id = blake3::Hash::from_hex(id).map_err(|_| ApiError::invalid("a blob is named by 64 hexadecimal digits"))?;
    nodes(&api)?.blob(&peer.name, BlobId(*id.as_bytes())).await.map(Bytes::from)
}

pub(super) async fn result(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfAttempt(attempt): OfAttempt,
    Params(part): Params<dto::Part>,
    body: Body,
) -> Result<Json<dto::Received>, ApiError> {
    nodes(&api)?.result(&peer.name, attempt, part, stream(body)).await.map(Json)
}

pub(super) async fn shipped_log(
    State(api): State<Api>,
    Peer(peer): Peer,
    OfAttempt(attempt): OfAttempt,
    body: Body,
) -> Result<(), ApiError> {
    nodes(&api)?.shipped_log(&peer.name, attempt, stream(body)).await
}

pub(super) async fn live_log(
    State(api): State<Api>,
    Peer(peer): Peer,
    Path(channel): Path<u64>,
    body: Body,
) -> Result<(), ApiError> {
    nodes(&api)?.live_log(&peer.name, channel, stream(body)).await
}
