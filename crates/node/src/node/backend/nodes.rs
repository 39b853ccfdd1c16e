//! What agent hosts on other machines download and upload. A host gets only what its own attempts need, and uploads
//! results and logs only of its own attempts; the engine knows which attempts those are. Deliberately absent: links,
//! and the meaning of a result.

use std::path::Path;

use async_trait::async_trait;
use devstack_cluster::NodeName;
use devstack_dag::ids::{AttemptId, BlobId, CommitId, HostName, ProjectName};

use super::{
    Core, TEXT_MAX,
    bundles::Reader,
    errors,
    owned::{own_commits, shelve},
};
use crate::downlink::{self, Readable, UploadError, Uploads};
use devstack_api::{ApiError, ByteStream, dto, error::code};
use devstack_config::problem::Problem;
use devstack_gateway::{Download, Nodes, Wanted};
use devstack_repository as repository;
use devstack_repository::Hub;

/// Takes a part of a file. If the part begins at the wrong offset, or completes a damaged file, the answer says where
/// to continue.
pub(super) async fn receive(
    uploads: &Uploads,
    of: &Path,
    part: &dto::Part,
    body: ByteStream,
    too_large: &str,
) -> Result<dto::Received, ApiError> {
    received(uploads.take(of, announced(part)?, body).await, too_large)
}

fn announced(part: &dto::Part) -> Result<downlink::Part, ApiError> {
    Ok(downlink::Part { digest: digest(part)?, size: part.size, offset: part.offset })
}

fn received(taken: Result<downlink::Received, UploadError>, too_large: &str) -> Result<dto::Received, ApiError> {
    match taken {
        Ok(received) => Ok(dto::Received { bytes: received.bytes, complete: received.complete }),
        Err(UploadError::Elsewhere(bytes)) => Ok(dto::Received { bytes, complete: false }),
        Err(UploadError::Damaged) => Ok(dto::Received { bytes: 0, complete: false }),
        Err(error @ UploadError::TooLarge(_)) => {
            Err(ApiError::new(413, Problem::new(code::TOO_LARGE, error.to_string()).hint(too_large)))
        }
        Err(error @ UploadError::Other) => {
            Err(ApiError::new(409, Problem::new(code::RESULT_REFUSED, error.to_string())))
        }
        // The host tries again.
        Err(error @ (UploadError::Busy | UploadError::Full(_))) => Err(ApiError::unavailable(error.to_string())),
        Err(UploadError::Io(error)) => Err(errors::internal(error)),
    }
}

/// The digest of the whole file.
pub(super) fn digest(part: &dto::Part) -> Result<[u8; 32], ApiError> {
    let digest = blake3::Hash::from_hex(&part.digest);
    digest.map(Into::into).map_err(|_| ApiError::invalid("a digest is 64 hexadecimal digits"))
}

/// The bundle to pack: a history starting at a commit that the head contains; other commits of the caller do not help.
/// `None` if the caller has nothing that leads to the tip.
fn usable(hub: &Hub, wanted: Wanted) -> Result<Option<Wanted>, repository::Error> {
    let contains = |tip: CommitId, commit: CommitId| -> Result<bool, repository::Error> {
        Ok(hub.contains(commit)? && hub.is_ancestor(commit, tip)?)
    };
    Ok(match wanted {
        Wanted::History { head, have: Some(have) } if !contains(head, have)? => {
            Some(Wanted::History { head, have: None })
        }
        Wanted::Tip { have, .. } => match hub.head()? {
            Some(head) if contains(head, have)? => Some(wanted),
            _ => None,
        },
        wanted => Some(wanted),
    })
}

pub(super) fn not_yours(what: impl std::fmt::Display) -> ApiError {
    let problem = Problem::new(code::FORBIDDEN, format!("{what} does not belong to this host"));
    ApiError::new(403, problem.hint("it may have been replaced by a newer attempt"))
}

#[async_trait]
impl Nodes for Core {
    async fn repository(&self, peer: &NodeName, project: ProjectName) -> Result<dto::NodeRepository, ApiError> {
        if self.starts(peer, &project).await?.is_empty() {
            return Err(not_yours(&project));
        }
        let hub = self.hub(&project).await?;
        let integration = hub.integration().to_owned();
        let head = errors::blocking(move || hub.head()).await?.map_err(errors::git)?;
        let head = head.ok_or_else(|| ApiError::unavailable("the source was not mirrored yet"))?;
        Ok(dto::NodeRepository { integration, head: head.to_string() })
    }

    async fn bundle(&self, peer: &NodeName, project: ProjectName, wanted: Wanted) -> Result<Download, ApiError> {
        let starts = self.starts(peer, &project).await?;
        if starts.is_empty() {
            return Err(not_yours(&project));
        }
        let hub = self.hub(&project).await?;
        if !own_commits(hub.clone(), starts, wanted).await? {
            return Err(not_yours(&project));
        }
        let judged = hub.clone();
        let wanted = errors::blocking(move || usable(&judged, wanted)).await?.map_err(errors::git)?;
        let wanted = wanted.ok_or_else(|| {
            ApiError::unavailable("the integration branch lacks a requested commit, or a commit that the caller has")
        })?;
        self.bundles.get(Reader::Member, hub, &project, wanted).await
    }

    async fn blob(&self, peer: &NodeName, id: BlobId) -> Result<Vec<u8>, ApiError> {
        match self.readable(peer, id).await? {
            Readable::Yes => {}
            Readable::No => return Err(not_yours(format_args!("the text {}", blake3::Hash::from_bytes(id.0)))),
            Readable::NotYet => return Err(ApiError::unavailable("the orders of this host are being sent again")),
        }
        let blobs = self.blobs.clone();
        errors::blocking(move || blobs.get(id, TEXT_MAX)).await?.map_err(errors::internal)
    }

    async fn result(
        &self,
        peer: &NodeName,
        attempt: AttemptId,
        part: dto::Part,
        body: ByteStream,
    ) -> Result<dto::Received, ApiError> {
        let asked = attempt.clone();
        if !self.may(peer, move |engine, host| engine.may_bring(host, &asked)).await? {
            return Err(not_yours(&attempt));
        }
        self.room_for_hosts(part.size.saturating_sub(part.offset)).await?;
        let host = HostName::new(peer.as_str()).map_err(|_| not_yours(&attempt))?;
        let taken = self.remote()?.downlink.results().take(&host, &attempt, announced(&part)?, body).await;
        received(taken, "raise [limits] bundle_size of the Taskmaster, or let the task change less")
    }

    async fn shipped_log(&self, peer: &NodeName, attempt: AttemptId, body: ByteStream) -> Result<(), ApiError> {
        let asked = attempt.clone();
        if !self.may(peer, move |engine, host| engine.may_shelve(host, &asked)).await? {
            return Err(not_yours(&attempt));
        }
        shelve(&self.shelf.log_of(&attempt), self.remote()?.log_size, body).await
    }

    async fn live_log(&self, peer: &NodeName, channel: u64, body: ByteStream) -> Result<(), ApiError> {
        self.remote()?.downlink.feed_log(peer, channel, body).await;
        Ok(())
    }
}
