//! A recovery of sled is not safe against a power cut in its midst. It renames its new snapshot and removes the old one
//! without syncing the directory, and then fills with zeros the segments that the new snapshot no longer needs. A power
//! cut can keep some of the zeros and lose the snapshot. The next recovery takes the zeros for the end of the log and
//! drops everything after them.
//!
//! Recovery is therefore rehearsed on a copy, and its new snapshot is put in place durably before sled opens the store
//! itself. sled then finds nothing to advance, and clears only segments that a durable snapshot does not need.
//! Deliberately absent: keeping the copy. It is never used again.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{open::open_sled, sync::sync_path};
use crate::StoreError;

/// Makes the snapshot of `sled` durable from which its recovery will start. `copy` is a scratch path next to it.
pub(super) fn rehearse(sled: &Path, copy: &Path) -> Result<(), StoreError> {
    let step = || format!("rehearsing the recovery of {}", sled.display());
    remove(copy).map_err(StoreError::io(step()))?;
    copy_files(sled, copy).map_err(StoreError::io(step()))?;
    drop(open_sled(copy)?);
    let made = newest_snapshot(copy).map_err(StoreError::io(step()))?;
    if let Some((name, made)) = made.filter(|(name, _)| !sled.join(name).exists()) {
        let fresh = sled.join("snapshot-to-be");
        fs::copy(&made, &fresh).map_err(StoreError::io(step()))?;
        sync_path(&fresh)?;
        fs::rename(&fresh, sled.join(name)).map_err(StoreError::io(step()))?;
    }
    sync_path(sled)?;
    remove(copy).map_err(StoreError::io(step()))
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::create_dir(to.join("blobs"))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            io::copy(&mut File::open(entry.path())?, &mut File::create(to.join(entry.file_name()))?)?;
        }
    }
    Ok(())
}

/// The snapshot with the highest log position, which its name contains as hexadecimal digits of fixed length.
fn newest_snapshot(dir: &Path) -> io::Result<Option<(String, PathBuf)>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && !name.ends_with(".generating") {
            newest = newest.max(Some((name, entry.path())));
        }
    }
    Ok(newest)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
