//! A backup of this Taskmaster, as a stream. The snapshot is taken here, under every repository's lock and between two
//! commits; the file is then written from it while the node continues. Deliberately absent: the file's format
//! (`backup`), and storing a backup on this machine.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::body::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Core, errors};
use crate::taskmaster::message::{LookAtStore, TaskmasterMessage};
use devstack_api::{ApiError, ByteStream};
use devstack_backup as backup;
use devstack_backup::{FORMAT, Head, Material};
use devstack_members as members;
use devstack_repository::image::Image;
use devstack_store::{InstallationLabel, Store, TransferError, export};

/// Size of a piece of the stream in bytes.
const PIECE: usize = 256 << 10;
/// Number of buffered pieces: a slow reader delays only its own backup.
const PIECES: usize = 4;

/// What backups need from a node besides its core.
pub(in crate::node) struct Backups {
    pub(in crate::node) state_dir: PathBuf,
    /// The value that the engine got.
    pub(in crate::node) attempts_behind: u32,
    /// One backup at a time: each locks all repositories for a moment.
    pub(in crate::node) turn: Arc<Semaphore>,
    /// Makes the names of this process's staging files unique.
    pub(in crate::node) next: AtomicU64,
}

impl Backups {
    pub(in crate::node) fn new(state_dir: PathBuf, attempts_behind: u32) -> Self {
        Self { state_dir, attempts_behind, turn: Arc::new(Semaphore::new(1)), next: AtomicU64::new(0) }
    }

    /// A file without a name: it disappears when it is closed.
    fn stage(&self) -> io::Result<File> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.state_dir.join(format!("uploads/backup-{}-{number}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
}

impl Core {
    pub(super) async fn back_up(&self) -> Result<ByteStream, ApiError> {
        let turn = self.backups.turn.clone().try_acquire_owned();
        let turn = turn.map_err(|_| ApiError::unavailable("another backup is in progress"))?;
        let is_repository =
            self.backups.state_dir.join("projects").read_dir().is_ok_and(|mut dir| dir.next().is_some());
        if self.hubs.is_none() && is_repository {
            return Err(ApiError::unavailable("no usable git on this host, and a backup needs the repositories"));
        }
        let blobs = self.blobs.hold();
        let (mut store, installation, seq, images) = self.moment().await?;
        store.rewind().map_err(errors::internal)?;
        let cluster = Some(self.backups.state_dir.join(members::DIR)).filter(|dir| dir.is_dir());
        let head = Head {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: (self.clock)().0,
            seq,
            installation: installation.to_string(),
            has_keys: cluster.is_some(),
            attempts_behind: self.backups.attempts_behind,
        };
        let material = Material { head, store, blobs, images, cluster };
        let (pieces, stream) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut out = Pieces { buffer: Vec::with_capacity(PIECE), pieces: pieces.clone() };
            match backup::write(material, &mut out) {
                Ok(contents) => tracing::info!(bytes = contents.bytes(), seq, "backup written"),
                Err(error) => {
                    tracing::warn!(%error, "a backup failed");
                    // The reader is gone, or learns from this that the backup is incomplete.
                    let _ = pieces.blocking_send(Err(io::Error::other(error.to_string())));
                }
            }
        });
        Ok(Box::pin(futures::stream::unfold(stream, |mut stream| async move {
            let piece: io::Result<Bytes> = stream.recv().await?;
            Some((piece, stream))
        })))
    }

    /// A snapshot of store and refs: no merge lands and no result is imported meanwhile.
    async fn moment(&self) -> Result<(File, InstallationLabel, u64, Vec<Image>), ApiError> {
        let held = match self.hubs.clone() {
            Some(hubs) => Some(errors::blocking(move || hubs.hold()).await?.map_err(errors::git)?),
            None => None,
        };
        let mut staged = self.backups.stage().map_err(errors::internal)?;
        let (reply, answer) = oneshot::channel();
        let look = move |store: &dyn Store| {
            let mut out = io::BufWriter::with_capacity(PIECE, &mut staged);
            let exported = export(store, &mut out).and_then(|()| Ok(out.flush()?));
            drop(out);
            let meta = store.meta();
            // If the caller is gone, there is nothing to do.
            let _ = reply.send(exported.map(|()| (staged, meta.label, meta.seq.0)));
        };
        self.taskmaster.cast(TaskmasterMessage::LookAtStore(LookAtStore(Box::new(look))))?;
        let exported: Result<_, TransferError> =
            answer.await.map_err(|_| ApiError::unavailable("the node's journal is closed"))?;
        let (staged, label, seq) = exported.map_err(errors::internal)?;
        let images = match held {
            Some(held) => errors::blocking(move || held.images()).await?.map_err(errors::git)?,
            None => Vec::new(),
        };
        Ok((staged, label, seq, images))
    }
}

/// Cuts the written bytes into pieces.
struct Pieces {
    buffer: Vec<u8>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
