//! Payloads too large for a record (prompts, feedback, conflict material): files named by the BLAKE3 digest of their
//! content, durable before a fact names them.
//! Deliberately absent: knowing who needs a blob. The caller collects the names and sweeps the rest.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
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
    /// Held from looking for a name to its sync, so that a name that is seen is durable.
    names: Mutex<()>,
}

impl Blobs {
    /// Opens the directory, creating it if it is missing. Names left by a killed process are made durable.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        disk::create_dir_synced(dir)?;
        disk::sync_path(dir)?;
        Ok(Self { dir: dir.to_owned(), next: AtomicU64::new(0), names: Mutex::new(()) })
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
            let _names = self.names.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
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

    /// Removes every blob not in `keep`, and files that a killed process left unfinished. Call it while nothing is
    /// being put: a payload that no fact names yet would go. Returns how many files went.
    pub fn sweep(&self, keep: &HashSet<BlobId>) -> Result<usize, StoreError> {
        let keep: HashSet<String> = keep.iter().map(BlobId::to_string).collect();
        let step = || format!("sweeping {}", self.dir.display());
        let mut gone = 0;
        for entry in fs::read_dir(&self.dir).map_err(StoreError::io(step()))? {
            let entry = entry.map_err(StoreError::io(step()))?;
            if entry.file_name().to_str().is_none_or(|name| !keep.contains(name)) {
                fs::remove_file(entry.path()).map_err(StoreError::io(step()))?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Is a file of this name and size there, and its name durable?
    fn is_kept(&self, id: BlobId, size: u64) -> bool {
        let _names = self.names.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
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
