//! What agent hosts on other machines fetch and bring. A host gets what an attempt of its own needs, and brings results
//! and logs of its own attempts; the engine knows which those are.
//! Deliberately absent: links, and what a result means.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use devstack_cluster::NodeName;
use devstack_dag::{
    attempt::Start,
    ids::{AttemptId, BlobId, CommitId, HostName, ProjectName},
};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use super::{Core, TEXT_MAX, errors};
use crate::{
    config::problem::Problem,
    downlink::{self, UploadError, Uploads, of_attempt},
    gateway::{ApiError, ByteStream, Download, Nodes, Wanted, dto, error::code},
    repository::{self, Hub},
};

/// Bundles kept for hosts that ask for the same, or go on after a broken connection; then the oldest goes.
const BUNDLES_KEPT: usize = 8;

/// Bundles that were made, by what was wanted.
pub(in crate::node) struct Bundles {
    dir: PathBuf,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    next: u64,
    bundles: HashMap<(ProjectName, Wanted), Arc<Bundle>>,
}

/// One bundle, made by whoever asks first.
#[derive(Default)]
struct Bundle {
    number: u64,
    file: tokio::sync::OnceCell<Download>,
}

impl Bundles {
    /// An empty directory. Blocks.
    ///
    /// # Errors
    /// The disk fails.
    pub(in crate::node) fn open(dir: PathBuf) -> io::Result<Self> {
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&dir)?,
        }
        Ok(Self { dir, made: Mutex::default() })
    }

    fn place(&self, project: &ProjectName, wanted: Wanted) -> Arc<Bundle> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (project.clone(), wanted);
        if let Some(known) = made.bundles.get(&key) {
            return known.clone();
        }
        if made.bundles.len() >= BUNDLES_KEPT
            && let Some(oldest) =
                made.bundles.iter().min_by_key(|(_, bundle)| bundle.number).map(|(key, _)| key.clone())
            && let Some(old) = made.bundles.remove(&oldest)
            && let Some(file) = old.file.get()
        {
            // Who reads it has it open.
            let _ = std::fs::remove_file(&file.path);
        }
        made.next += 1;
        let bundle = Arc::new(Bundle { number: made.next, ..Bundle::default() });
        made.bundles.insert(key, bundle.clone());
        bundle
    }

    fn forget(&self, project: &ProjectName, wanted: Wanted) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).bundles.remove(&(project.clone(), wanted));
    }

    pub(super) async fn get(&self, hub: Arc<Hub>, project: &ProjectName, wanted: Wanted) -> Result<Download, ApiError> {
        let place = self.place(project, wanted);
        let path = self.dir.join(format!("{}.bundle", place.number));
        let made = place.file.get_or_try_init(|| async {
            errors::blocking(move || write(&hub, wanted, path)).await?.map_err(errors::git)
        });
        match made.await {
            Ok(made) if made.path.exists() => Ok(made.clone()),
            Ok(_) => {
                self.forget(project, wanted);
                Err(ApiError::unavailable("the bundle was removed just now"))
            }
            Err(error) => {
                self.forget(project, wanted);
                Err(error)
            }
        }
    }
}

fn write(hub: &Hub, wanted: Wanted, path: PathBuf) -> Result<Download, repository::Error> {
    match wanted {
        Wanted::History { head, have } => hub.history_bundle(head, have, &path)?,
        Wanted::Tip { tip, have } => hub.bundle_for(tip, have, &path)?,
    }
    let failed = |source| repository::Error::Io { what: "read", path: path.clone(), source };
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(&path).map_err(failed)?;
    let size = io::copy(&mut file, &mut hasher).map_err(failed)?;
    Ok(Download { size, digest: *hasher.finalize().as_bytes(), path })
}

/// Takes a part of a file. One that begins elsewhere, or completes what is damaged, is answered with where to go on.
pub(super) async fn receive(
    uploads: &Uploads,
    of: &Path,
    part: &dto::Part,
    body: ByteStream,
    too_large: &str,
) -> Result<dto::Received, ApiError> {
    let part = downlink::Part { digest: digest(part)?, size: part.size, offset: part.offset };
    match uploads.take(of, part, body).await {
        Ok(received) => Ok(dto::Received { bytes: received.bytes, complete: received.complete }),
        Err(UploadError::Elsewhere(bytes)) => Ok(dto::Received { bytes, complete: false }),
        Err(UploadError::Damaged) => Ok(dto::Received { bytes: 0, complete: false }),
        Err(error @ UploadError::TooLarge(_)) => {
            Err(ApiError::new(413, Problem::new(code::TOO_LARGE, error.to_string()).hint(too_large)))
        }
        Err(UploadError::Io(error)) => Err(errors::internal(error)),
    }
}

/// The digest of the whole.
pub(super) fn digest(part: &dto::Part) -> Result<[u8; 32], ApiError> {
    let digest = blake3::Hash::from_hex(&part.digest);
    digest.map(Into::into).map_err(|_| ApiError::invalid("a digest is 64 hexadecimal digits"))
}

fn not_yours(what: impl std::fmt::Display) -> ApiError {
    let problem = Problem::new(code::FORBIDDEN, format!("{what} is not this host's"));
    ApiError::new(403, problem.hint("it may have been replaced by a newer attempt"))
}

impl Core {
    /// What the attempts that run on a host start from, of one project.
    async fn starts(&self, peer: &NodeName, project: &ProjectName) -> Result<Vec<Start>, ApiError> {
        let Ok(host) = HostName::new(peer.as_str()) else { return Ok(Vec::new()) };
        let project = project.clone();
        self.look(move |seen| {
            let running = seen.engine.on_host(&host);
            let of_project = running.filter(|attempt| attempt.attempt.task.project == project);
            of_project.map(|attempt| attempt.start.clone()).collect()
        })
        .await
    }

    /// Refuses what is not an attempt of this host.
    async fn own(&self, peer: &NodeName, attempt: &AttemptId) -> Result<(), ApiError> {
        let (peer, asked) = (peer.clone(), attempt.clone());
        let own = self.look(move |seen| {
            let mut known = seen.engine.attempts(&asked.task).iter();
            known.any(|known| known.attempt == asked && known.host.as_str() == peer.as_str())
        });
        if own.await? { Ok(()) } else { Err(not_yours(attempt)) }
    }
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
        let head = head.ok_or_else(|| ApiError::unavailable("its source was not mirrored yet"))?;
        Ok(dto::NodeRepository { integration, head: head.to_string() })
    }

    async fn bundle(&self, peer: &NodeName, project: ProjectName, wanted: Wanted) -> Result<Download, ApiError> {
        let starts = self.starts(peer, &project).await?;
        let of = |commit: CommitId| {
            starts.iter().any(|start| match start {
                Start::Empty => false,
                Start::Commit { tip, .. } => *tip == commit,
                Start::Merging { theirs, .. } => *theirs == commit,
            })
        };
        let own = match wanted {
            Wanted::History { .. } => !starts.is_empty(),
            Wanted::Tip { tip, .. } => of(tip),
        };
        if !own {
            return Err(not_yours(&project));
        }
        let hub = self.hub(&project).await?;
        self.bundles.get(hub, &project, wanted).await
    }

    async fn blob(&self, _: &NodeName, id: BlobId) -> Result<Vec<u8>, ApiError> {
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
        self.own(peer, &attempt).await?;
        let hint = "raise [limits] bundle_size of the Taskmaster, or let the task change less";
        receive(self.remote()?.downlink.uploads(), &of_attempt(&attempt), &part, body, hint).await
    }

    async fn shipped_log(&self, peer: &NodeName, attempt: AttemptId, mut body: ByteStream) -> Result<(), ApiError> {
        self.own(peer, &attempt).await?;
        let (path, max) = (self.shelf.log_of(&attempt), self.remote()?.log_size);
        let partial = path.with_extension("part");
        let receive = async {
            tokio::fs::create_dir_all(path.parent().unwrap_or(&path)).await?;
            let mut file = tokio::fs::File::create(&partial).await?;
            let mut left = max;
            while let Some(chunk) = body.next().await {
                let chunk = chunk?;
                left = left.checked_sub(chunk.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
                file.write_all(&chunk).await?;
            }
            file.flush().await?;
            tokio::fs::rename(&partial, &path).await
        };
        let received: io::Result<()> = receive.await;
        if received.is_err() {
            // Swept with the shelf if it stays.
            let _ = tokio::fs::remove_file(&partial).await;
        }
        received.map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => {
                let problem =
                    Problem::new(code::TOO_LARGE, format!("the log is larger than the {max} bytes that are taken"));
                ApiError::new(413, problem.hint("send its end, or raise [limits] log_size of the Taskmaster"))
            }
            _ => errors::internal(error),
        })
    }

    async fn live_log(&self, peer: &NodeName, channel: u64, body: ByteStream) -> Result<(), ApiError> {
        self.remote()?.downlink.feed_log(peer, channel, body).await;
        Ok(())
    }
}
