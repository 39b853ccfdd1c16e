//! Caches bundles for clients that ask for the same bundle or resume after a broken connection. Few bundles are packed
//! at once, and only one at a time for users, so that agent hosts do not wait behind them. The cache has a budget in
//! bytes, of which users have half. A file exists as long as somebody holds it, and no longer. Deliberately absent: who
//! may have which bundle, and how to pack it (the repository).

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use devstack_dag::ids::ProjectName;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::errors;
use devstack_api::ApiError;
use devstack_gateway::{Download, Wanted};
use devstack_repository as repository;
use devstack_repository::Hub;

/// The reader of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reader {
    /// An agent host.
    Member,
    /// A user.
    Person,
}

/// The limits of the cache.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct BundleLimits {
    /// Total size of all files in bytes.
    pub(in crate::node) space: u64,
    /// Number of bundles packed at once.
    pub(in crate::node) packers: usize,
}

/// The request, and its reader.
type Key = (Reader, ProjectName, Wanted);

/// Cached bundles by request.
pub(in crate::node) struct Bundles {
    dir: PathBuf,
    limits: BundleLimits,
    /// For all readers; and for users, who wait here first.
    packers: Arc<Semaphore>,
    peoples: Arc<Semaphore>,
    next: AtomicU64,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    /// Counts uses.
    clock: u64,
    known: HashMap<Key, Entry>,
}

struct Entry {
    used: u64,
    bundle: Arc<OnceCell<Arc<File>>>,
}

/// A file of the cache, removed with its last holder.
#[derive(Debug)]
struct File {
    path: PathBuf,
    size: u64,
    digest: [u8; 32],
}

impl Drop for File {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A file that is being written: removed unless it was finished.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| remove(path));
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot remove {}", path.display());
        }
        _ => {}
    }
}

impl Bundles {
    /// Opens an empty directory. Blocks.
    ///
    /// # Errors
    /// The disk fails.
    pub(in crate::node) fn open(dir: PathBuf, limits: BundleLimits) -> io::Result<Self> {
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&dir)?,
        }
        let packers = limits.packers.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            dir,
            limits,
            packers: Arc::new(Semaphore::new(packers)),
            peoples: Arc::new(Semaphore::new(1)),
            next: AtomicU64::new(0),
            made: Mutex::default(),
        })
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bundle, and packs it if needed. Callers with the same request wait for the same bundle.
    pub(super) async fn get(
        &self,
        reader: Reader,
        hub: Arc<Hub>,
        project: &ProjectName,
        wanted: Wanted,
    ) -> Result<Download, ApiError> {
        let key = (reader, project.clone(), wanted);
        let bundle = self.made().find(&key);
        let made = bundle.get_or_try_init(|| self.pack(reader, hub, wanted)).await;
        let Ok(file) = made else {
            self.made().forget(&key, &bundle);
            return made.map(|file| file.download());
        };
        self.made().shrink(&key, self.limits.space / 2);
        Ok(file.download())
    }

    async fn pack(&self, reader: Reader, hub: Arc<Hub>, wanted: Wanted) -> Result<Arc<File>, ApiError> {
        let turn = self.turn(reader).await?;
        let path = self.dir.join(format!("{}.bundle", self.next.fetch_add(1, Ordering::Relaxed)));
        let work = move || {
            // The work holds the turn, not the caller, who may go away meanwhile.
            let _turn = turn;
            write(&hub, wanted, path)
        };
        errors::blocking(work).await?.map_err(errors::git).map(Arc::new)
    }

    /// Waits for a turn to pack.
    async fn turn(&self, reader: Reader) -> Result<[Option<OwnedSemaphorePermit>; 2], ApiError> {
        let of = async |semaphore: &Arc<Semaphore>| semaphore.clone().acquire_owned().await.map_err(errors::internal);
        let own = match reader {
            Reader::Person => Some(of(&self.peoples).await?),
            Reader::Member => None,
        };
        Ok([own, Some(of(&self.packers).await?)])
    }
}

impl Made {
    fn find(&mut self, key: &Key) -> Arc<OnceCell<Arc<File>>> {
        self.clock += 1;
        let used = self.clock;
        let entry = self.known.entry(key.clone()).or_insert_with(|| Entry { used, bundle: Arc::default() });
        entry.used = used;
        entry.bundle.clone()
    }

    /// Removes the entry, unless another caller began again meanwhile.
    fn forget(&mut self, key: &Key, bundle: &Arc<OnceCell<Arc<File>>>) {
        if self.known.get(key).is_some_and(|entry| Arc::ptr_eq(&entry.bundle, bundle)) {
            self.known.remove(key);
        }
    }

    /// Removes the least recently used bundles of the same kind of reader until the rest fits: never the newest one, so
    /// that a client can finish a large download over a bad line.
    fn shrink(&mut self, newest: &Key, space: u64) {
        let size = |entry: &Entry| entry.bundle.get().map(|file| file.size);
        loop {
            let of_kind = self.known.iter().filter(|(key, _)| key.0 == newest.0);
            let kept: u64 = of_kind.clone().filter_map(|(_, entry)| size(entry)).sum();
            let others = of_kind.filter(|(key, entry)| *key != newest && size(entry).is_some());
            let oldest = others.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            match oldest.filter(|_| kept > space) {
                Some(oldest) => self.known.remove(&oldest),
                None => return,
            };
        }
    }
}

impl File {
    fn download(self: &Arc<Self>) -> Download {
        Download { path: self.path.clone(), size: self.size, digest: self.digest, kept: self.clone() }
    }
}

/// Writes the bundle. Blocks.
fn write(hub: &Hub, wanted: Wanted, path: PathBuf) -> Result<File, repository::Error> {
    let mut unfinished = Unfinished(Some(path.clone()));
    match wanted {
        Wanted::History { head, have } => hub.history_bundle(head, have, &path)?,
        Wanted::Tip { tip, have } => hub.bundle_for(tip, have, &path)?,
    }
    let failed = |source| repository::Error::Io { what: "read", path: path.clone(), source };
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(&path).map_err(failed)?;
    let size = io::copy(&mut file, &mut hasher).map_err(failed)?;
    unfinished.0 = None;
    Ok(File { size, digest: *hasher.finalize().as_bytes(), path })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use devstack_dag::ids::CommitId;

    use super::*;

    fn key(reader: Reader, number: u8) -> Key {
        (reader, "shop".parse().unwrap(), Wanted::History { head: CommitId([number; 20]), have: None })
    }

    fn keep(made: &mut Made, dir: &Path, key: &Key, size: u64) -> Arc<File> {
        let path = dir.join(format!("{:?}-{:?}", key.0, made.clock));
        std::fs::write(&path, vec![0; usize::try_from(size).unwrap()]).unwrap();
        let file = Arc::new(File { path, size, digest: [0; 32] });
        made.find(key).set(file.clone()).unwrap();
        file
    }

    #[test]
    fn what_was_not_used_longest_goes_with_its_file_unless_somebody_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Made::default();
        let keys: Vec<Key> = (0..4).map(|number| key(Reader::Person, number)).collect();
        let held = keep(&mut made, dir.path(), &keys[0], 40);
        let second = keep(&mut made, dir.path(), &keys[1], 40).path.clone();
        let of_member = keep(&mut made, dir.path(), &key(Reader::Member, 1), 90).path.clone();
        made.find(&keys[0]);
        keep(&mut made, dir.path(), &keys[2], 40);
        made.shrink(&keys[2], 100);
        assert!(!second.exists() && held.path.exists(), "the second was not used since");
        keep(&mut made, dir.path(), &keys[3], 200);
        made.shrink(&keys[3], 100);
        assert_eq!(made.known.len(), 2, "the newest stays however large it is, and nobody else's goes");
        assert!(held.path.exists() && of_member.exists());
        let path = held.path.clone();
        drop(held);
        assert!(!path.exists());
    }
}
