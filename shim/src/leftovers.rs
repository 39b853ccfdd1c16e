//! Puts the agent's uncommitted files, path by path, into an extra commit on top of the agent's last commit. The
//! repository only gains objects: no index and no reference changes, so nobody's lock matters.
//!
//! Deliberately absent: resolving a merge. An unresolved merge stays as it is.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::Read,
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use devstack_shim::spec::{Git, Spec};
use git2::{Commit, Index, IndexEntry, IndexTime, Oid, Repository, RepositoryState, Signature, Tree};

use crate::{
    left::Left,
    trouble::Failure,
    worktree::{self, Found, Tracked},
};

/// The start of a line that a conflict leaves.
const MARKERS: [&[u8]; 2] = [b"<<<<<<< ", b">>>>>>> "];
/// Markers are searched in files up to this size, in bytes; git writes none into larger files
/// (`core.bigFileThreshold`).
const MARKED_MAX: u64 = 512 << 20;

/// Types of files, as git writes them.
const GITLINK: u32 = 0o160_000;
const LINK: u32 = 0o120_000;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
/// In the flags of an entry: the side of a conflict.
const STAGE: u16 = 0x3000;
/// In the extended flags of an entry: outside of a sparse checkout.
const SKIP_WORKTREE: u16 = 1 << 14;

/// The result of the commit.
pub(crate) enum Leftovers {
    /// Nothing was left that could be taken.
    None,
    /// The commit with the leftovers.
    Commit(Oid),
    /// A merge is not resolved: this path still has a conflict.
    Unresolved(String),
}

/// Where the uncommitted work goes.
pub(crate) struct Onto<'r> {
    pub(crate) repository: &'r Repository,
    pub(crate) parent: Commit<'r>,
    pub(crate) workspace: &'r Path,
}

/// Commits the leftovers; paths that cannot be taken are listed in `left`.
pub(crate) fn commit(onto: &Onto<'_>, spec: &Spec, git: &Git, left: &mut Left) -> Result<Leftovers, Failure> {
    let Onto { repository, parent, workspace } = onto;
    let head = parent.tree()?;
    let (mut index, written) = index_of(repository, &head, left)?;
    let merging = merge_head(repository)?;
    if let Some(path) = unresolved(&index, workspace)? {
        return Ok(Leftovers::Unresolved(path));
    }
    let tracked = Tracked::of(&index);
    let found = worktree::walk(repository, workspace, &tracked, left);
    drop(tracked);
    let Changes { gone, links, changed } = compare(&index, workspace, &found, written);
    for entry in links {
        without_link(&mut index, &head, &entry, &found, left)?;
    }
    for path in gone {
        index.remove_path(&path)?;
    }
    let room = git.bundle_max;
    for path in changed.iter().chain(&found.untracked) {
        take(&mut index, workspace, path, room, left)?;
    }
    let tree = index.write_tree_to(repository)?;
    if tree == parent.tree_id() && merging.is_none() {
        return Ok(Leftovers::None);
    }
    let author = Signature::now(&git.name, &git.email)?;
    let message = match merging {
        None => format!("Uncommitted work of {}\n", spec.label),
        Some(theirs) => format!("Merge commit '{theirs}'\n\nUncommitted work of {}\n", spec.label),
    };
    let theirs = merging.map(|theirs| repository.find_commit(theirs)).transpose()?;
    let parents: Vec<_> = std::iter::once(parent).chain(theirs.iter()).collect();
    let commit = repository.commit(None, &author, &author, &message, &repository.find_tree(tree)?, &parents)?;
    Ok(Leftovers::Commit(commit))
}

/// The index, and when it was written. An unreadable index is rebuilt from the last commit.
fn index_of(repository: &Repository, head: &Tree<'_>, left: &mut Left) -> Result<(Index, IndexTime), Failure> {
    let path = repository.path().join("index");
    let written = fs::metadata(&path).map(|file| time(file.mtime(), file.mtime_nsec()));
    match (repository.index(), written) {
        (Ok(index), Ok(written)) => return Ok((index, written)),
        (Err(error), _) => {
            if let Failure::Machine(text) = Failure::from(error) {
                return Err(Failure::Machine(text));
            }
        }
        (Ok(_), Err(_)) => {}
    }
    left.skip(".git/index", "it cannot be read: staged changes without a file are lost");
    let mut index = Index::new()?;
    index.read_tree(head)?;
    let sparse = repository.config().and_then(|config| config.get_bool("core.sparseCheckout")).unwrap_or(false);
    if sparse {
        // Without the index everything outside of the checkout would look deleted.
        return Err(Failure::Other("the index of a sparse checkout cannot be read".into()));
    }
    repository.set_index(&mut index)?;
    Ok((index, IndexTime::new(0, 0)))
}

/// The path of an entry.
pub(crate) fn path_of(entry: &IndexEntry) -> PathBuf {
    PathBuf::from(OsString::from_vec(entry.path.clone()))
}

/// Differences between the index and the working directory.
#[derive(Default)]
struct Changes {
    gone: Vec<PathBuf>,
    /// Changed, or resolved from a conflict.
    changed: BTreeSet<PathBuf>,
    /// Nested repositories, as git records them.
    links: Vec<IndexEntry>,
}

fn compare(index: &Index, workspace: &Path, found: &Found, written: IndexTime) -> Changes {
    let mut changes = Changes::default();
    for entry in index.iter() {
        let path = path_of(&entry);
        if entry.mode == GITLINK {
            changes.links.push(entry);
            continue;
        }
        if found.is_shut(&path) {
            continue;
        }
        // A file that is reached through a link is another file.
        let in_place = path.parent().is_some_and(|dir| found.dirs.contains(dir));
        let file = if in_place { fs::symlink_metadata(workspace.join(&path)).ok() } else { None };
        match file.filter(|file| !file.is_dir()) {
            None if entry.flags_extended & SKIP_WORKTREE != 0 => {}
            None => changes.gone.push(path),
            Some(file) if file.is_file() || file.is_symlink() => {
                if entry.flags & STAGE != 0 || !is_unchanged(&entry, &file, written) {
                    changes.changed.insert(path);
                }
            }
            // The walk already listed it.
            Some(_) => {}
        }
    }
    changes
}

/// A nested repository cannot be merged: its entry stays as it was before the agent.
fn without_link(
    index: &mut Index,
    head: &Tree<'_>,
    entry: &IndexEntry,
    found: &Found,
    left: &mut Left,
) -> Result<(), Failure> {
    let path = path_of(entry);
    let before = head.get_path(&path).ok().filter(|known| known.filemode() == GITLINK as i32).map(|known| known.id());
    if before == Some(entry.id) {
        return Ok(());
    }
    if !found.shut.contains(&path) {
        left.skip(&path.to_string_lossy(), worktree::NESTED);
    }
    match before {
        None => index.remove_path(&path)?,
        Some(id) => {
            let IndexEntry { ctime, mtime, dev, ino, mode, uid, gid, file_size, flags, flags_extended, .. } = *entry;
            let path = entry.path.clone();
            let before =
                IndexEntry { ctime, mtime, dev, ino, mode, uid, gid, file_size, id, flags, flags_extended, path };
            index.add(&before)?;
        }
    }
    Ok(())
}

/// Decides like git: the file is unchanged if all its data in the index is the same, and the index was written after
/// the file's last change.
fn is_unchanged(entry: &IndexEntry, file: &Metadata, written: IndexTime) -> bool {
    let mode = match file.permissions().mode() {
        _ if file.is_symlink() => LINK,
        mode if mode & 0o100 != 0 => PROGRAM,
        _ => PLAIN,
    };
    let changed = time(file.mtime(), file.mtime_nsec());
    entry.mode == mode
        && entry.file_size == file.size() as u32
        && entry.ino == file.ino() as u32
        && entry.mtime == changed
        && entry.ctime == time(file.ctime(), file.ctime_nsec())
        && changed < written
}

/// The index stores 32 bits of each number.
fn time(seconds: i64, nanoseconds: i64) -> IndexTime {
    IndexTime::new(seconds as i32, nanoseconds as u32)
}

/// Takes one file or link.
fn take(index: &mut Index, workspace: &Path, path: &Path, max: u64, left: &mut Left) -> Result<(), Failure> {
    let place = workspace.join(path);
    let named = path.to_string_lossy();
    match fs::symlink_metadata(&place) {
        // Checked before the library compresses the file: the bundle could not hold it.
        Ok(file) if file.len() > max => {
            left.skip(&named, &format!("the limit of a result is {max} bytes, and the file has {}", file.len()));
            return Ok(());
        }
        _ => {}
    }
    let Err(error) = index.add_path(path) else { return Ok(()) };
    let Failure::Other(text) = Failure::from(error) else {
        return Err(Failure::Machine(format!("{named} cannot be taken: the disk is full or broken")));
    };
    // The library's message begins with a long path.
    let why = File::open(&place).err().map_or(text, |error| error.to_string());
    left.skip(&named, &why);
    Ok(())
}

fn merge_head(repository: &Repository) -> Result<Option<Oid>, Failure> {
    if repository.state() != RepositoryState::Merge {
        return Ok(None);
    }
    let mut text = String::new();
    File::open(repository.path().join("MERGE_HEAD"))?.take(64).read_to_string(&mut text)?;
    Ok(Some(Oid::from_str(text.lines().next().unwrap_or_default())?))
}

/// A path with an unresolved conflict. A conflict with markers is resolved when the markers are gone, for an agent
/// without git; a conflict that git cannot mark (a deletion, a binary file) needs `git add` or `git rm`.
fn unresolved(index: &Index, dir: &Path) -> Result<Option<String>, Failure> {
    if !index.has_conflicts() {
        return Ok(None);
    }
    for conflict in index.conflicts()? {
        let conflict = conflict?;
        let Some(entry) = conflict.our.as_ref().or(conflict.their.as_ref()).or(conflict.ancestor.as_ref()) else {
            continue;
        };
        let path = path_of(entry);
        let content = regular_file(&dir.join(&path));
        let marked = content.as_deref().is_some_and(has_markers);
        let sides = conflict.our.as_ref().zip(conflict.their.as_ref());
        let markable = sides.is_some() && content.as_deref().is_some_and(|bytes| !bytes.contains(&0));
        if marked || !markable {
            return Ok(Some(path.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn regular_file(path: &Path) -> Option<Vec<u8>> {
    let file = fs::symlink_metadata(path).ok()?;
    (file.is_file() && file.len() <= MARKED_MAX).then(|| fs::read(path).ok())?
}

fn has_markers(content: &[u8]) -> bool {
    content.split(|&byte| byte == b'\n').any(|line| MARKERS.iter().any(|marker| line.starts_with(marker)))
}
