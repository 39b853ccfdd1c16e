//! One node per store: an exclusive lock on our own lock file, taken before anything else, because the repairs at open
//! delete files. The kernel releases the lock when the process ends for any reason. A node without a store takes the
//! lock too, because the other files in its state directory also have one owner. Deliberately absent: waiting. A
//! process that finds the lock held talks to the holder instead.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use crate::StoreError;

/// At most this much of the holder's description is shown, in bytes.
const MAX_HOLDER: u64 = 200;

/// The held lock; dropping it releases the lock.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes the lock of the store in `dir`, which must exist, or names the holder.
    ///
    /// # Errors
    /// Another process holds the lock, or the disk fails.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        let step = || format!("locking {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io(step()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(StoreError::io(step())(error)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The name is informational: unreadable is the same as unknown.
                let _ = file.take(MAX_HOLDER).read_to_string(&mut holder);
                let holder = if holder.is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
                return Err(StoreError::Held { path: dir.to_owned(), holder });
            }
        }
        let holder = format!("pid {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(StoreError::io(step()))?;
        Ok(Self { _file: file })
    }
}
