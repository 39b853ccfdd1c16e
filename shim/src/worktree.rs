//! Walks the working directory for untracked entries, and for entries that git could not take or would block on:
//! unreadable directories, nested repositories, pipes. One unreadable entry never hides another.
//!
//! Deliberately absent: following links, and reading any file.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, FileType},
    path::{Path, PathBuf},
};

use git2::{Index, Repository};

use crate::left::Left;

/// The message about a nested repository, be it a clone, a submodule or a git worktree.
pub(crate) const NESTED: &str = "a nested git repository: its files are left out";

/// Tracked files, and their directories. All paths here are relative.
#[derive(Default)]
pub(crate) struct Tracked {
    files: HashSet<PathBuf>,
    dirs: HashSet<PathBuf>,
}

impl Tracked {
    pub(crate) fn of(index: &Index) -> Self {
        let mut tracked = Self::default();
        for entry in index.iter() {
            let path = crate::leftovers::path_of(&entry);
            for dir in path.ancestors().skip(1) {
                if !tracked.dirs.insert(dir.to_owned()) {
                    break;
                }
            }
            tracked.files.insert(path);
        }
        tracked
    }
}

/// The result of the walk.
#[derive(Default)]
pub(crate) struct Found {
    /// Real directories that were read; the root is empty.
    pub(crate) dirs: HashSet<PathBuf>,
    /// Files and links that are neither tracked nor ignored.
    pub(crate) untracked: Vec<PathBuf>,
    /// Directories that were not read, each listed: their content is neither taken nor missing.
    pub(crate) shut: HashSet<PathBuf>,
}

impl Found {
    /// Whether the path is in a directory that was not read.
    pub(crate) fn is_shut(&self, path: &Path) -> bool {
        path.ancestors().skip(1).any(|dir| self.shut.contains(dir))
    }
}

/// Walks everything except the repository.
pub(crate) fn walk(repository: &Repository, root: &Path, tracked: &Tracked, left: &mut Left) -> Found {
    let mut found = Found::default();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let entries = match list(&root.join(&dir), dir.as_os_str().is_empty()) {
            Ok(Listing::Entries(entries)) => entries,
            Ok(Listing::Repository) => {
                left.skip(&dir.to_string_lossy(), NESTED);
                found.shut.insert(dir);
                continue;
            }
            Err(error) => {
                left.skip(&dir.to_string_lossy(), &format!("the directory cannot be read: {error}"));
                found.shut.insert(dir);
                continue;
            }
        };
        for (name, kind) in entries {
            let path = dir.join(&name);
            if kind.is_dir() {
                if tracked.dirs.contains(&path) || !is_ignored(repository, &path.join("")) {
                    open.push(path);
                }
            } else if !(kind.is_file() || kind.is_symlink()) {
                if tracked.files.contains(&path) || !is_ignored(repository, &path) {
                    left.skip(&path.to_string_lossy(), "neither a file nor a directory");
                }
            } else if !tracked.files.contains(&path) && !is_ignored(repository, &path) {
                found.untracked.push(path);
            }
        }
        found.dirs.insert(dir);
    }
    found.untracked.sort_unstable();
    found
}

/// Whether git's rules ignore the path; a path that git cannot judge is not ignored.
fn is_ignored(repository: &Repository, path: &Path) -> bool {
    repository.is_path_ignored(path).unwrap_or(false)
}

enum Listing {
    Entries(Vec<(std::ffi::OsString, FileType)>),
    /// It has a `.git`.
    Repository,
}

/// The content of a directory. Entries on which the library would block are removed before it reads them (an agent that
/// ended needs no pipe); its messages still mention them.
fn list(dir: &Path, is_root: bool) -> std::io::Result<Listing> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if is_gits(&name) && never_ends(&entry.path(), kind) {
            fs::remove_file(entry.path())?;
        } else if name == ".git" {
            if is_root {
                continue;
            }
            return Ok(Listing::Repository);
        }
        entries.push((name, kind));
    }
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Listing::Entries(entries))
}

fn is_gits(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".git")
}

/// Neither a file nor a directory, or a link to such an entry: opening it may block forever.
fn never_ends(path: &Path, kind: FileType) -> bool {
    if kind.is_symlink() {
        return fs::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir());
    }
    !kind.is_file() && !kind.is_dir()
}

/// Removes pipes and similar entries from the repository itself.
pub(crate) fn free_of_pipes(git: &Path) -> std::io::Result<()> {
    let mut open = vec![git.to_path_buf()];
    while let Some(dir) = open.pop() {
        // If libgit2 needs an unreadable directory, it reports the error.
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if never_ends(&entry.path(), kind) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
