//! The steps that make objects and refs survive a power cut, and nothing else. The order is always the same: the file,
//! then the name, then the directory.
//!
//! libgit2 with `core.fsyncObjectFiles` syncs the objects and refs that it writes and their directories, but not the
//! parent of a new directory. The git command with `core.fsync` syncs files but no directory. Everything that git
//! writes therefore goes to a scratch directory first and is landed from there.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Error;

/// Number of concurrent syncs; more bring no gain on the measured disks.
const AT_ONCE: usize = 16;

/// Whether syncs are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Always, outside tests.
    #[default]
    Full,
    /// Tests only: the proof that the power-loss test fails without them.
    Off,
}

/// Make a file's content durable.
pub(crate) fn fsync_file(durability: Durability, path: &Path) -> Result<(), Error> {
    if durability == Durability::Off {
        return Ok(());
    }
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| Error::Unsynced { path: path.to_owned(), source })
}

/// Make the names in a directory durable.
pub(crate) fn fsync_dir(durability: Durability, path: &Path) -> Result<(), Error> {
    fsync_file(durability, path) // a directory is opened and synced like a file
}

/// Make the path durable: its name, and the name of every directory above it on its file system, because a killed
/// process may have made them without a sync.
pub(crate) fn fsync_way(durability: Durability, path: &Path) -> Result<(), Error> {
    let unsynced = |source| Error::Unsynced { path: path.to_owned(), source };
    let device = fs::metadata(path).map_err(unsynced)?.dev();
    for above in path.ancestors().skip(1).filter(|_| durability == Durability::Full) {
        match fs::File::open(above) {
            // If this process cannot read a directory, it made neither that directory nor its parents.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => break,
            opened => {
                let above = opened.map_err(unsynced)?;
                if above.metadata().map_err(unsynced)?.dev() != device {
                    break;
                }
                above.sync_all().map_err(unsynced)?;
            }
        }
    }
    Ok(())
}

/// Make a whole tree durable: every file, then every directory, children before parents.
pub(crate) fn fsync_tree(durability: Durability, root: &Path) -> Result<(), Error> {
    for entry in read_dir(root)? {
        if entry.is_dir() {
            fsync_tree(durability, &entry)?;
        } else {
            fsync_file(durability, &entry)?;
        }
    }
    fsync_dir(durability, root)
}

/// Make many files or directories durable, several at once: the file system writes one journal entry for all waiting
/// syncs, so twenty cost little more than one.
fn fsync_all(durability: Durability, paths: &[PathBuf]) -> Result<(), Error> {
    if durability == Durability::Off || paths.is_empty() {
        return Ok(());
    }
    let share = paths.len().div_ceil(AT_ONCE);
    std::thread::scope(|scope| {
        let sync = |part: &[PathBuf]| part.iter().try_for_each(|path| fsync_file(durability, path));
        let (own, others) = paths.split_at(share);
        let others: Vec<_> = others.chunks(share).map(|part| scope.spawn(move || sync(part))).collect();
        let mut result = sync(own);
        for other in others {
            result = result.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        result
    })
}

/// Move every object of the object directory `from` into `into`: contents synced, then renamed, then the touched
/// directories synced. An existing object is left as it is. `from` is empty afterwards. An index is moved after its
/// pack, so that no reader sees half of it. Returns the number of moved files.
pub(crate) fn land_objects(durability: Durability, from: &Path, into: &Path) -> Result<usize, Error> {
    let mut files = Vec::new();
    for directory in read_dir(from)?.into_iter().filter(|path| path.is_dir() && !path.ends_with("info")) {
        files.extend(read_dir(&directory)?.into_iter().filter(|path| !is_temporary(path)));
    }
    fsync_all(durability, &files)?;
    files.sort_by_key(|path| path.extension().is_some_and(|e| e == "idx"));
    let mut touched = BTreeSet::new();
    let mut moved = 0;
    for file in files {
        let place = into.join(file.strip_prefix(from).unwrap_or(&file));
        if place.exists() {
            fs::remove_file(&file).map_err(Error::io("remove", &file))?;
        } else {
            fs::rename(&file, &place).map_err(|source| Error::Unsynced { path: place.clone(), source })?;
            moved += 1;
        }
        touched.extend(place.parent().map(Path::to_owned));
    }
    fsync_all(durability, &touched.into_iter().collect::<Vec<_>>())?;
    Ok(moved)
}

/// Temporary names that git and libgit2 use before they rename, and marks that must not be copied.
pub(crate) fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("tmp_") || name.ends_with(".keep") || name.ends_with(".lock") || name.ends_with(".temp")
}

/// The entries of a directory.
pub(crate) fn read_dir(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect() };
    list().map_err(Error::io("list", path))
}
