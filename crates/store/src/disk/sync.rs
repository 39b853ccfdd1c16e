//! The steps that make files and names survive a power loss, each a small function: the power-loss test proves its
//! worth by failing when one is taken out. Deliberately absent: deciding when to sync (see [`super::open`] and
//! [`super::write`]).

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::StoreError;

/// Whether sled's data reaches the disk before a commit is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Yes: our own `fdatasync` after sled's flush.
    #[default]
    Durable,
    /// No: sled's flush alone, which survives kill -9 but not a power loss. For the power-loss test only: it must fail.
    FlushOnly,
}

/// Our own descriptor of sled's data file. It is opened before anything is written to the file, because a descriptor
/// reports only write-back errors that happened after it was opened.
#[derive(Debug)]
pub(super) struct DataFile {
    file: File,
    policy: SyncPolicy,
}

impl DataFile {
    /// Opens the file, creating it empty, before sled does.
    pub(super) fn open(path: &Path, policy: SyncPolicy) -> Result<Self, StoreError> {
        let step = format!("opening {}", path.display());
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        Ok(Self { file: file.map_err(StoreError::io(step))?, policy })
    }

    /// The barrier: returns when everything that sled wrote is on the disk. Call it after sled's flush.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        match self.policy {
            SyncPolicy::Durable => self.file.sync_data().map_err(StoreError::io("syncing the store")),
            SyncPolicy::FlushOnly => Ok(()),
        }
    }
}

/// Syncs a file or directory, so that its content (for a directory: its names) survives.
pub(crate) fn sync_path(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io(format!("syncing {}", path.display())))
}

/// Makes a directory and its missing parents, and makes the path durable: every name up to the root of the file system,
/// because a process that was killed here earlier may have made them without a sync.
pub(crate) fn create_dir_synced(path: &Path) -> Result<(), StoreError> {
    let step = || format!("making {}", path.display());
    fs::create_dir_all(path).map_err(StoreError::io(step()))?;
    let path = path.canonicalize().map_err(StoreError::io(step()))?;
    let device = path.metadata().map_err(StoreError::io(step()))?.dev();
    for above in path.ancestors().skip(1) {
        match File::open(above) {
            // If this process cannot read a directory, it made neither that directory nor its parents.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            opened => {
                let above = opened.map_err(StoreError::io(step()))?;
                if above.metadata().map_err(StoreError::io(step()))?.dev() != device {
                    break;
                }
                above.sync_all().map_err(StoreError::io(step()))?;
            }
        }
    }
    Ok(())
}

/// Creates a marker file whose presence after a power loss is certain.
pub(super) fn create_marker(path: &Path) -> Result<(), StoreError> {
    let step = || format!("creating {}", path.display());
    File::create(path).and_then(|file| file.sync_all()).map_err(StoreError::io(step()))?;
    sync_path(path.parent().unwrap_or(Path::new(".")))
}
