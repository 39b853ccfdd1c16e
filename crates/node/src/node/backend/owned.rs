//! Checks that what an agent host downloads or uploads is its own: the engine knows its attempts and texts, the hub its
//! commits. A log is stored once, in its first version. Deliberately absent: results (`downlink::Results`) and making
//! bundles.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use devstack_cluster::NodeName;
use devstack_dag::{
    Engine,
    attempt::Start,
    ids::{BlobId, HostName, ProjectName},
};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use super::{Core, errors};
use crate::downlink::Readable;
use devstack_api::{ApiError, ByteStream, error::code};
use devstack_config::problem::Problem;
use devstack_gateway::Wanted;
use devstack_repository as repository;
use devstack_repository::Hub;

impl Core {
    /// The starts of the running attempts of one project on a host.
    pub(super) async fn starts(&self, peer: &NodeName, project: &ProjectName) -> Result<Vec<Start>, ApiError> {
        let Ok(host) = HostName::new(peer.as_str()) else { return Ok(Vec::new()) };
        let project = project.clone();
        self.look(move |seen| {
            let running = seen.engine.on_host(&host);
            let of_project = running.filter(|attempt| attempt.attempt.task.project == project);
            of_project.map(|attempt| attempt.start.clone()).collect()
        })
        .await
    }

    /// Whether a host may read this text.
    pub(super) async fn readable(&self, peer: &NodeName, text: BlobId) -> Result<Readable, ApiError> {
        let Ok(host) = HostName::new(peer.as_str()) else { return Ok(Readable::No) };
        let asked = host.clone();
        let running = self.look(move |seen| {
            let running = seen.engine.on_host(&asked);
            running.map(|attempt| attempt.attempt.clone()).collect::<Vec<_>>()
        });
        Ok(self.remote()?.downlink.readable(&host, text, &running.await?))
    }

    /// Asks the engine about a host. An invalid host name has no permissions.
    pub(super) async fn may(
        &self,
        peer: &NodeName,
        may: impl FnOnce(&Engine, &HostName) -> bool + Clone + Send + 'static,
    ) -> Result<bool, ApiError> {
        let Ok(host) = HostName::new(peer.as_str()) else { return Ok(false) };
        self.look(move |seen| may(seen.engine, &host)).await
    }
}

/// Whether these commits are starts of these attempts. The history of the integration branch is included, because every
/// attempt has it; the commit of another attempt is not.
pub(super) async fn own_commits(hub: Arc<Hub>, starts: Vec<Start>, wanted: Wanted) -> Result<bool, ApiError> {
    let head = match wanted {
        Wanted::Tip { tip, .. } => return Ok(starts.iter().any(|start| start.other() == Some(tip))),
        Wanted::History { head, .. } => head,
    };
    let is_integrated = move || {
        let Some(newest) = hub.head()? else { return Ok(false) };
        // An unknown commit is in no history.
        Ok(newest == head || (hub.contains(head)? && hub.is_ancestor(head, newest)?))
    };
    errors::blocking(is_integrated).await?.map_err(|error: repository::Error| errors::git(error))
}

/// Stores the log of an ended attempt, at most `max` bytes, unless one is already stored: a stored log never changes.
pub(super) async fn shelve(path: &Path, max: u64, body: ByteStream) -> Result<(), ApiError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let partial = path.with_extension(format!("{}.part", NEXT.fetch_add(1, Ordering::Relaxed)));
    let kept = keep(path, &partial, max, body).await;
    // If it stays, the log archive sweeps it.
    let _ = tokio::fs::remove_file(&partial).await;
    kept.map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            let problem = Problem::new(code::TOO_LARGE, format!("the log is larger than the limit of {max} bytes"));
            ApiError::new(413, problem.hint("send its end, or raise [limits] log_size of the Taskmaster"))
        }
        io::ErrorKind::AlreadyExists => {
            ApiError::new(409, Problem::new(code::RESULT_REFUSED, "the log of this attempt is already stored"))
        }
        _ => errors::internal(error),
    })
}

async fn keep(path: &Path, partial: &Path, max: u64, mut body: ByteStream) -> io::Result<()> {
    if tokio::fs::try_exists(path).await? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    tokio::fs::create_dir_all(path.parent().unwrap_or(path)).await?;
    let mut file = tokio::fs::File::create(partial).await?;
    let mut left = max;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        left = left.checked_sub(chunk.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    // Fails if a log exists by now.
    tokio::fs::hard_link(partial, path).await
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    fn body(text: &'static str) -> ByteStream {
        futures::stream::once(async { Ok(Bytes::from_static(text.as_bytes())) }).boxed()
    }

    #[tokio::test]
    async fn a_log_is_kept_as_it_came_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p/t/1.log");
        let status = |kept: Result<(), ApiError>| kept.map_or_else(|error| error.status, |()| 200);
        assert_eq!(status(shelve(&path, 5, body("too long")).await), 413);
        assert_eq!(status(shelve(&path, 9, body("the truth")).await), 200);
        assert_eq!(status(shelve(&path, 9, body("a lie")).await), 409);
        assert_eq!(std::fs::read(&path).unwrap(), b"the truth");
        let files = std::fs::read_dir(dir.path().join("p/t")).unwrap().count();
        assert_eq!(files, 1, "nothing else is left");
    }
}
