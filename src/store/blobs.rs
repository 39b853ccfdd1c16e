//! Payloads too large for a record (prompts, feedback, conflict material): files named by the BLAKE3 digest of their
//! content, durable before a fact names them.
//! Deliberately absent: knowing who needs a blob. The caller collects the names and sweeps the rest.

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

/// How the name of an unfinished file begins; finished ones are hexadecimal.
const TEMPORARY: &str = "tmp-";

/// Why a blob was not had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Nothing of this name was kept, or it was swept.
    #[error("blob {0} is missing: restore the blob directory from a backup")]
    Missing(BlobId),
    /// Ask for less, or raise the limit.
    #[error("blob {id} has {size} bytes, more than the {max} asked for")]
    TooLarge {
        /// Which.
        id: BlobId,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The content does not match the name.
    #[error("blob {0} is damaged: restore the blob directory from a backup")]
    Damaged(BlobId),
    /// It is not UTF-8, but was named as a text.
    #[error("blob {0} is not a text")]
    NotText(BlobId),
    /// The disk or the kernel refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A directory of blobs.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    /// Distinguishes the temporary files of this process.
    next: AtomicU64,
    /// Held from looking for a name to its sync, so that a name that is seen is durable, and from judging one to its
    /// removal, so that a name that was given out is not removed.
    names: Mutex<Young>,
    /// How many copy the directory at this moment: none of it is swept meanwhile.
    holds: Arc<AtomicUsize>,
}

/// While it lives, no blob is removed.
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

/// Names given out since the last sweep, and between it and the one before: their facts may still be on their way.
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

    /// Keeps every blob until the hold is dropped. What is named after this call is there: a sweep that began before
    /// takes nothing that was put or named since the one before it.
    pub fn hold(&self) -> BlobHold {
        self.holds.fetch_add(1, Ordering::AcqRel);
        BlobHold { dir: self.dir.clone(), holds: self.holds.clone() }
    }

    /// Keeps a payload; durable on return. One that is there already costs no write.
    pub fn put(&self, bytes: &[u8]) -> Result<BlobId, StoreError> {
        let mut ids = self.put_all(&[bytes])?;
        // One payload gives one id.
        Ok(ids.swap_remove(0))
    }

    /// Keeps payloads with one sync of the directory for all.
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

    /// A text as records hold it: inline when short, else kept here.
    pub fn text(&self, text: &str) -> Result<Text, StoreError> {
        if text.len() <= Text::INLINE_MAX {
            return Ok(Text::Inline(text.into()));
        }
        Ok(Text::Blob(self.put(text.as_bytes())?, text.len() as u64))
    }

    /// The text itself; refuses more than `max` bytes.
    pub fn read_text(&self, text: &Text, max: u64) -> Result<String, BlobError> {
        match text {
            Text::Inline(text) => Ok(text.as_ref().to_owned()),
            Text::Blob(id, _) => String::from_utf8(self.get(*id, max)?).map_err(|_| BlobError::NotText(*id)),
        }
    }

    /// Removes every blob that is not in `keep` and was not put since the sweep before the last, and files that a killed
    /// process left unfinished. Returns how many files went.
    ///
    /// A payload is put before a fact names it. Two sweeps must therefore lie further apart than that can take, and
    /// `keep` must be what is named now. What a killed process had put and not named is put again by whoever asks again.
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

    /// Is a file of this name and size there, and its name durable? No sweep takes it any more.
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
