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
use devstack_dag::ids::{AttemptId, BlobId, HostName, ProjectName};

use super::{
    Core, TEXT_MAX, errors,
    owned::{own_commits, shelve},
};
use crate::{
    config::problem::Problem,
    downlink::{self, Readable, UploadError, Uploads},
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
        // A host comes again.
        Err(error @ (UploadError::Busy | UploadError::Full(_))) => Err(ApiError::unavailable(error.to_string())),
        Err(UploadError::Io(error)) => Err(errors::internal(error)),
    }
}

/// The digest of the whole.
pub(super) fn digest(part: &dto::Part) -> Result<[u8; 32], ApiError> {
    let digest = blake3::Hash::from_hex(&part.digest);
    digest.map(Into::into).map_err(|_| ApiError::invalid("a digest is 64 hexadecimal digits"))
}

pub(super) fn not_yours(what: impl std::fmt::Display) -> ApiError {
    let problem = Problem::new(code::FORBIDDEN, format!("{what} is not this host's"));
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
        let head = head.ok_or_else(|| ApiError::unavailable("its source was not mirrored yet"))?;
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
        self.bundles.get(hub, &project, wanted).await
    }

    async fn blob(&self, peer: &NodeName, id: BlobId) -> Result<Vec<u8>, ApiError> {
        match self.readable(peer, id).await? {
            Readable::Yes => {}
            Readable::No => return Err(not_yours(format_args!("the text {}", blake3::Hash::from_bytes(id.0)))),
            Readable::NotYet => return Err(ApiError::unavailable("the orders of this host are being given again")),
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
