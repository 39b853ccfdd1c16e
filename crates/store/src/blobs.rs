//! Payloads too large for a record (prompts, feedback, conflict material): files named by the BLAKE3 digest of their
//! content, durable before a fact names them. Deliberately absent: knowing which blobs are needed. The caller collects
//! the names and sweeps the rest.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use devstack_dag::ids::{BlobId, Text};

use super::{StoreError, disk};

/// Prefix of the names of unfinished files; finished files have hexadecimal names.
const TEMPORARY: &str = "tmp-";

/// Why a blob cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No blob of this name was stored, or it was swept.
    #[error("blob {0} is missing: restore the blob directory from a backup")]
    Missing(BlobId),
    /// Ask for less, or raise the limit.
    #[error("blob {id} has {size} bytes, more than the limit of {max}")]
    TooLarge {
        /// The blob.
        id: BlobId,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The content does not match the name.
    #[error("blob {0} is damaged: restore the blob directory from a backup")]
    Damaged(BlobId),
    /// The blob is not UTF-8, but was referenced as a text.
    #[error("blob {0} is not valid UTF-8")]
    NotText(BlobId),
    /// The disk or the kernel refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A directory of blobs.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    /// Makes the names of this process's temporary files unique.
    next: AtomicU64,
    /// Held from looking up a name until its sync, so that a visible name is durable; and from judging a name until its
    /// removal, so that a name that was handed out is not removed.
    names: Mutex<Young>,
    /// Number of current copies of the directory; nothing is swept during a copy.
    holds: Arc<AtomicUsize>,
}

/// Prevents the removal of blobs while it exists.
#[derive(Debug)]
pub struct BlobHold {
    dir: PathBuf,
    holds: Arc<AtomicUsize>,
}

impl BlobHold {
    /// Every finished blob: its name and its file.
    pub fn files(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            if blake3::Hash::from_hex(&name).is_ok() {
                found.push((name, entry.path()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl Drop for BlobHold {
    fn drop(&mut self) {
        self.holds.fetch_sub(1, Ordering::Release);
    }
}

/// Names handed out since the last sweep, and between that sweep and the one before: their facts may still be in
/// flight.
#[derive(Debug, Default)]
struct Young {
    now: HashSet<BlobId>,
    before: HashSet<BlobId>,
}

impl Young {
    fn has(&self, name: &str) -> bool {
        let id = blake3::Hash::from_hex(name).map(|hash| BlobId(*hash.as_bytes()));
        id.is_ok_and(|id| self.now.contains(&id) || self.before.contains(&id))
    }
}

impl Blobs {
    /// Opens the directory, creating it if it is missing. Names left by a killed process are made durable.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        disk::create_dir_synced(dir)?;
        disk::sync_path(dir)?;
        Ok(Self { dir: dir.to_owned(), next: AtomicU64::new(0), names: Mutex::default(), holds: Arc::default() })
    }

    /// Keeps every blob until the hold is dropped. Blobs that are named after this call exist: a sweep that began
    /// earlier removes nothing that was stored or named since the previous sweep.
    pub fn hold(&self) -> BlobHold {
        self.holds.fetch_add(1, Ordering::AcqRel);
        BlobHold { dir: self.dir.clone(), holds: self.holds.clone() }
    }

    /// Stores a payload; it is durable on return. A payload that already exists costs no write.
    pub fn put(&self, bytes: &[u8]) -> Result<BlobId, StoreError> {
        let mut ids = self.put_all(&[bytes])?;
        // One payload gives one id.
        Ok(ids.swap_remove(0))
    }

    /// Stores payloads with one sync of the directory for all of them.
    pub fn put_all(&self, payloads: &[&[u8]]) -> Result<Vec<BlobId>, StoreError> {
        let mut written = Vec::new();
        let mut ids = Vec::with_capacity(payloads.len());
        for bytes in payloads {
            let id = BlobId(*blake3::hash(bytes).as_bytes());
            ids.push(id);
            if !self.is_kept(id, bytes.len() as u64) {
                written.push((self.write_temporary(bytes)?, self.path(id)));
            }
        }
        if !written.is_empty() {
            let _names = self.names();
            for (temporary, path) in written {
                fs::rename(&temporary, &path).map_err(StoreError::io(format!("naming {}", path.display())))?;
            }
            disk::sync_path(&self.dir)?;
        }
        Ok(ids)
    }

    /// The payload, checked against its name; refuses more than `max` bytes.
    pub fn get(&self, id: BlobId, max: u64) -> Result<Vec<u8>, BlobError> {
        let path = self.path(id);
        let step = || format!("reading {}", path.display());
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BlobError::Missing(id)),
            file => file.map_err(StoreError::io(step()))?,
        };
        let size = file.metadata().map_err(StoreError::io(step()))?.len();
        if size > max {
            return Err(BlobError::TooLarge { id, size, max });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        (&mut file).take(max + 1).read_to_end(&mut bytes).map_err(StoreError::io(step()))?;
        if *blake3::hash(&bytes).as_bytes() != id.0 {
            return Err(BlobError::Damaged(id));
        }
        Ok(bytes)
    }

    /// Stores a text in the form that records hold: inline when short, otherwise as a blob.
    pub fn text(&self, text: &str) -> Result<Text, StoreError> {
        if text.len() <= Text::INLINE_MAX {
            return Ok(Text::Inline(text.into()));
        }
        Ok(Text::Blob(self.put(text.as_bytes())?, text.len() as u64))
    }

    /// Reads a text; refuses more than `max` bytes.
    pub fn read_text(&self, text: &Text, max: u64) -> Result<String, BlobError> {
        match text {
            Text::Inline(text) => Ok(text.as_ref().to_owned()),
            Text::Blob(id, _) => String::from_utf8(self.get(*id, max)?).map_err(|_| BlobError::NotText(*id)),
        }
    }

    /// Removes every blob that is not in `keep` and was not stored since the sweep before the last, and files that a
    /// killed process left unfinished. Returns the number of removed files.
    ///
    /// A payload is stored before a fact names it. Two sweeps must therefore be further apart than this can take, and
    /// `keep` must be the currently named blobs. If a killed process stored a payload without naming it, the next
    /// request stores it again.
    pub fn sweep(&self, keep: &HashSet<BlobId>) -> Result<usize, StoreError> {
        let keep: HashSet<String> = keep.iter().map(BlobId::to_string).collect();
        let step = || format!("sweeping {}", self.dir.display());
        let ours = format!("{TEMPORARY}{}-", std::process::id());
        let mut gone = 0;
        for entry in fs::read_dir(&self.dir).map_err(StoreError::io(step()))? {
            let entry = entry.map_err(StoreError::io(step()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !keep.contains(*name) && !name.starts_with(&ours)) else {
                continue;
            };
            let young = self.names();
            if !young.has(name) && self.holds.load(Ordering::Acquire) == 0 {
                fs::remove_file(entry.path()).map_err(StoreError::io(step()))?;
                gone += 1;
            }
        }
        let mut young = self.names();
        young.before = std::mem::take(&mut young.now);
        Ok(gone)
    }

    fn names(&self) -> MutexGuard<'_, Young> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Whether a file with this name and size exists and its name is durable. If so, no sweep removes it any more.
    fn is_kept(&self, id: BlobId, size: u64) -> bool {
        let mut young = self.names();
        young.now.insert(id);
        fs::metadata(self.path(id)).is_ok_and(|file| file.len() == size)
    }

    fn write_temporary(&self, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
        File::create(&path)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .map_err(StoreError::io(format!("writing {}", path.display())))?;
        Ok(path)
    }
}
