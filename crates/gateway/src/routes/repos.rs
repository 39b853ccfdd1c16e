//! Repositories on users' machines: the inbox, uploads, and the integration branch for download. Bundles are
//! transferred in parts both ways, so a broken connection costs only the current part.
//! Deliberately absent: the content of a bundle (the backend's quarantine checks it).

use std::io::SeekFrom;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use devstack_dag::ids::CommitId;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use utoipa::ToSchema;

use super::Api;
use crate::{
    Download, Repos,
    access::Visitor,
    extract::{Bundle, OfProject, Params},
    openapi::{Draft, Gives},
};
use devstack_api::{
    ApiError, ByteStream,
    dto::{self, DIGEST, SIZE},
};
use devstack_members::Role;

/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;
/// The maximum number of commits that a client can name: the branch as delivered, the local branch, and its base.
const HAVE_MAX: usize = 8;

fn repos(api: &Api) -> Result<&dyn Repos, ApiError> {
    api.backend.repos().ok_or_else(|| ApiError::unavailable("this host has no usable git"))
}

/// Parses a commit of a query.
pub(super) fn commit(text: &str) -> Result<CommitId, ApiError> {
    text.parse().map_err(|_| ApiError::invalid("a commit is 40 hexadecimal digits"))
}

/// Reads a body as it arrives.
pub(super) fn stream(body: Body) -> ByteStream {
    body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)).boxed()
}

/// A file from an offset on; headers describe the whole file.
pub(super) async fn download(found: &Download, from: u64) -> Result<Response, ApiError> {
    let unreadable = |error: std::io::Error| ApiError::internal(format!("the bundle cannot be read: {error}"));
    let mut file = tokio::fs::File::open(&found.path).await.map_err(unreadable)?;
    file.seek(SeekFrom::Start(from)).await.map_err(unreadable)?;
    let kept = found.kept.clone();
    let chunks = futures::stream::try_unfold((file, kept), |(mut file, kept)| async move {
        let mut buffer = vec![0; CHUNK];
        let read = file.read(&mut buffer).await?;
        buffer.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(buffer), (file, kept))))
    });
    let digest = blake3::Hash::from_bytes(found.digest).to_hex().to_string();
    Ok(([(DIGEST, digest), (SIZE, found.size.to_string())], Body::from_stream(chunks)).into_response())
}

pub(super) async fn show(State(api): State<Api>, OfProject(project): OfProject) -> Result<Json<dto::Repo>, ApiError> {
    repos(&api)?.inbox(project).await.map(Json)
}

pub(super) async fn push(
    State(api): State<Api>,
    OfProject(project): OfProject,
    Params(push): Params<dto::Push>,
    Bundle(body): Bundle,
) -> Result<Json<dto::Pushed>, ApiError> {
    repos(&api)?.push(project, push, stream(body)).await.map(Json)
}

/// Selects a branch, what the client has of it, and the offset in the bundle.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BranchQuery {
    /// The integration branch.
    branch: String,
    /// Commits, separated by commas, in the order of preference.
    #[serde(default)]
    have: String,
    /// The offset in the bundle.
    #[serde(default)]
    from: u64,
}

pub(super) async fn bundle(
    State(api): State<Api>,
    visitor: Visitor,
    OfProject(project): OfProject,
    Params(query): Params<BranchQuery>,
) -> Result<BundleFile, ApiError> {
    let have = query.have.split(',').filter(|text| !text.is_empty()).map(commit).collect::<Result<Vec<_>, _>>()?;
    if have.len() > HAVE_MAX {
        return Err(ApiError::invalid(format!("`have` names {} commits; at most {HAVE_MAX} are allowed", have.len())));
    }
    let may_have_all = visitor.role >= Role::Operator;
    let found = repos(&api)?.branch(project, query.branch, have, may_have_all).await?;
    download(&found, query.from).await.map(BundleFile)
}

/// A download.
pub(super) struct BundleFile(Response);

impl IntoResponse for BundleFile {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/x-git-bundle")], self.0).into_response()
    }
}

impl Gives for BundleFile {
    fn gives(draft: &mut Draft) {
        let headers =
            format!("a git bundle; the headers `{DIGEST}` (BLAKE3) and `{SIZE}` (bytes) describe the whole bundle");
        let schema = json!({ "type": "string", "format": "binary", "description": headers });
        draft.gives("application/x-git-bundle", schema);
    }
}
