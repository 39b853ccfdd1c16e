//! Fetches commits and texts from a Taskmaster on another machine: histories as bundles into the mirror, texts into a
//! directory, named by their digests. Called from blocking threads. Deliberately absent: the mirrors themselves, and
//! what is built from them.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use devstack_dag::ids::{CommitId, ProjectName, Text};

use super::bulk::{Bulk, BulkError};
use crate::agent_host::Supply;
use devstack_api::dto;
use devstack_repository::mirror::Mirror;

/// Fetches from the Taskmaster.
pub struct Remote {
    bulk: Bulk,
    /// Files in transfer.
    scratch: PathBuf,
    next: AtomicU64,
    tokio: tokio::runtime::Handle,
}

impl Remote {
    /// Files in transfer are stored in `scratch`, which is emptied. Call this within a tokio runtime. Blocks.
    ///
    /// # Errors
    /// The disk fails.
    pub fn new(bulk: Bulk, scratch: PathBuf) -> std::io::Result<Arc<Self>> {
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&scratch)?,
        }
        Ok(Arc::new(Self { bulk, scratch, next: AtomicU64::new(0), tokio: tokio::runtime::Handle::current() }))
    }

    fn repository(&self, project: &ProjectName) -> Result<dto::NodeRepository, String> {
        self.tokio.block_on(self.bulk.get(&format!("/v1/nodes/repos/{project}"))).map_err(fetching)
    }

    fn fresh(&self) -> Temporary {
        Temporary(self.scratch.join(format!("{}.bundle", self.next.fetch_add(1, Ordering::Relaxed))))
    }
}

/// A file that is removed when dropped.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Emptied at the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn fetching(error: BulkError) -> String {
    format!("fetching from the Taskmaster: {error}")
}

impl Supply for Remote {
    fn integration(&self, project: &ProjectName) -> Result<String, String> {
        Ok(self.repository(project)?.integration)
    }

    fn update(&self, project: &ProjectName, mirror: &Mirror) -> Result<(), String> {
        let head = self.repository(project)?.head;
        let head: CommitId = head.parse().map_err(|_| "the Taskmaster's head is not a commit id".to_owned())?;
        let have = mirror.head().map_err(|error| error.to_string())?;
        if have == Some(head) {
            return Ok(());
        }
        let have = have.map(|have| format!("&have={have}")).unwrap_or_default();
        let bundle = self.fresh();
        let path = format!("/v1/nodes/repos/{project}/bundle?want={head}{have}");
        self.tokio.block_on(self.bulk.download(&path, &bundle.0)).map_err(fetching)?;
        mirror.take(&bundle.0, head).map_err(|error| format!("its repository: {error}"))
    }

    fn bundle(&self, project: &ProjectName, tip: CommitId, known: CommitId, path: &Path) -> Result<(), String> {
        let from = format!("/v1/nodes/repos/{project}/bundle?tip={tip}&have={known}");
        self.tokio.block_on(self.bulk.download(&from, path)).map_err(fetching)
    }

    fn text(&self, text: &Text, max: u64) -> Result<String, String> {
        match text {
            Text::Inline(text) => Ok(text.as_ref().to_owned()),
            Text::Blob(id, _) => {
                let path = format!("/v1/nodes/blobs/{id}");
                let bytes = self.tokio.block_on(self.bulk.text(&path, max)).map_err(fetching)?;
                if *blake3::hash(&bytes).as_bytes() != id.0 {
                    return Err(format!("blob {id} arrived damaged"));
                }
                String::from_utf8(bytes).map_err(|_| format!("blob {id} is not valid UTF-8"))
            }
        }
    }
}
