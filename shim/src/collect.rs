//! Reads the agent's repository: commits what was left uncommitted and writes `base..HEAD` as a bundle to standard
//! output; the answer goes to standard error. libgit2 runs no hook, no filter program and no fsmonitor, and this
//! process has nothing that the agent did not have, so a hostile repository gains nothing here.
//!
//! Deliberately absent: judging what was made. The node does, in quarantine.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};

use devstack_shim::{
    layout,
    spec::{Git, GitStart, Harvested, Spec},
};
use git2::{Index, IndexAddOption, Oid, Repository, RepositoryState, Signature};

use crate::{harvest, workspace::Error};

/// The start of a line that a conflict leaves.
const MARKERS: [&[u8]; 2] = [b"<<<<<<< ", b">>>>>>> "];
/// Markers are looked for in files up to this size, in bytes; git makes none in larger ones (`core.bigFileThreshold`).
const MARKED_MAX: u64 = 512 << 20;

/// The whole child. Its answer is always one JSON object.
pub(crate) fn main(spec: &Spec) {
    let result = spec.git.as_ref().ok_or_else(|| "the attempt has no repository".into()).and_then(|git| {
        harvest::limit()?;
        collect(spec, git)
    });
    let answer = result.unwrap_or_else(|error| Harvested { tip: None, error: Some(error.to_string()) });
    if let Ok(text) = serde_json::to_vec(&answer) {
        let _ = io::stderr().write_all(&text);
    }
}

fn collect(spec: &Spec, git: &Git) -> Result<Harvested, Error> {
    let dir = &spec.workspace;
    refuse_pipes(dir)?;
    let repository =
        Repository::open(dir).map_err(|error| format!("the workspace is no repository: {}", error.message()))?;
    stays_within(&repository, dir)?;
    let note = commit_leftovers(&repository, dir, spec, git)?;
    let tip = repository.head()?.peel_to_commit()?.id();
    let base = Oid::from_str(git.start.base())?;
    let mut known = vec![base];
    if let GitStart::Merging { theirs, .. } = &git.start {
        known.push(Oid::from_str(theirs)?);
    }
    if tip == base {
        return Ok(Harvested { tip: None, error: note });
    }
    bundle(&repository, tip, &known, git.bundle_max)?;
    Ok(Harvested { tip: Some(tip.to_string()), error: note })
}

/// Refuses a repository that leads elsewhere (a `gitdir:` file, a link, `commondir`, `core.worktree`): where the agent
/// has no user of its own, the harvest would commit into a person's.
fn stays_within(repository: &Repository, workspace: &Path) -> Result<(), Error> {
    let workspace = workspace.canonicalize()?;
    let git = workspace.join(".git");
    let same = |path: &Path, expected: &Path| path.canonicalize().is_ok_and(|path| path == expected);
    let within = fs::symlink_metadata(&git)?.is_dir()
        && same(repository.path(), &git)
        && same(repository.commondir(), &git)
        && repository.workdir().is_some_and(|dir| same(dir, &workspace));
    if within { Ok(()) } else { Err("the workspace's repository was led elsewhere".into()) }
}

/// libgit2 opens what git's own names stand for, and waits for ever on a pipe. It skips pipes under other names.
/// (One behind a link outside is left to the time limit.)
fn refuse_pipes(workspace: &Path) -> Result<(), Error> {
    let mut open = vec![(workspace.to_path_buf(), false)];
    while let Some((dir, in_git)) = open.pop() {
        // A directory that cannot be read is for libgit2 to complain about, if it needs it.
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let entry = entry?;
            let kind = entry.file_type()?;
            let of_git = in_git || entry.file_name().as_encoded_bytes().starts_with(b".git");
            if kind.is_dir() {
                open.push((entry.path(), of_git));
            } else if of_git && !kind.is_file() && !kind.is_symlink() {
                return Err(format!("{} is neither a file nor a directory", entry.path().display()).into());
            }
        }
    }
    Ok(())
}

/// Commits what the agent left in its working directory. `Some`: a merge that is not resolved, which stays as it is.
fn commit_leftovers(repository: &Repository, dir: &Path, spec: &Spec, git: &Git) -> Result<Option<String>, Error> {
    let mut index = repository.index()?;
    let merging = merge_head(repository)?;
    if let Some(path) = unresolved(&index, dir)? {
        return Ok(Some(format!("the merge is not resolved: {path} still has a conflict")));
    }
    let too_large = |path: &Path, _: &[u8]| match fs::symlink_metadata(dir.join(path)) {
        // Refused before libgit2 compresses it: the bundle could not hold it.
        Ok(file) if file.len() > git.bundle_max => -1,
        _ => 0,
    };
    index.add_all(["*"], IndexAddOption::DEFAULT, Some(&mut { too_large })).map_err(|error| {
        format!("uncommitted files cannot be added (a result is at most {} bytes): {}", git.bundle_max, error.message())
    })?;
    index.update_all(["*"], None)?;
    let tree = index.write_tree()?;
    let head = repository.head()?.peel_to_commit()?;
    if tree == head.tree_id() && merging.is_none() {
        return Ok(None);
    }
    index.write()?;
    let author = Signature::now(&git.name, &git.email)?;
    let message = match merging {
        None => format!("Uncommitted work of {}\n", spec.label),
        Some(theirs) => format!("Merge commit '{theirs}'\n\nUncommitted work of {}\n", spec.label),
    };
    let mut parents = vec![head];
    parents.extend(merging.map(|theirs| repository.find_commit(theirs)).transpose()?);
    let parents: Vec<_> = parents.iter().collect();
    repository.commit(Some("HEAD"), &author, &author, &message, &repository.find_tree(tree)?, &parents)?;
    repository.cleanup_state()?;
    Ok(None)
}

fn merge_head(repository: &Repository) -> Result<Option<Oid>, Error> {
    if repository.state() != RepositoryState::Merge {
        return Ok(None);
    }
    let mut text = String::new();
    fs::File::open(repository.path().join("MERGE_HEAD"))?.take(64).read_to_string(&mut text)?;
    Ok(Some(Oid::from_str(text.lines().next().unwrap_or_default())?))
}

/// A path whose conflict nobody resolved. One with markers is resolved when they are gone, for an agent without
/// git; one that git cannot mark (a deletion, a binary file) needs `git add` or `git rm`.
fn unresolved(index: &Index, dir: &Path) -> Result<Option<String>, Error> {
    if !index.has_conflicts() {
        return Ok(None);
    }
    for conflict in index.conflicts()? {
        let conflict = conflict?;
        let Some(entry) = conflict.our.as_ref().or(conflict.their.as_ref()).or(conflict.ancestor.as_ref()) else {
            continue;
        };
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let content = regular_file(&dir.join(&path));
        let marked = content.as_deref().is_some_and(has_markers);
        let sides = conflict.our.as_ref().zip(conflict.their.as_ref());
        let markable = sides.is_some() && content.as_deref().is_some_and(|bytes| !bytes.contains(&0));
        if marked || !markable {
            return Ok(Some(path));
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

/// Writes `tip` without what `known` has: a version 2 bundle with one ref.
fn bundle(repository: &Repository, tip: Oid, known: &[Oid], max: u64) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let mut header = String::from("# v2 git bundle\n");
    known.iter().for_each(|id| header.push_str(&format!("-{id}\n")));
    header.push_str(&format!("{tip} {}\n\n", layout::BUNDLE_REF));
    out.write_all(header.as_bytes())?;

    let mut walk = repository.revwalk()?;
    walk.push(tip)?;
    known.iter().try_for_each(|id| walk.hide(*id))?;
    let mut pack = repository.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let mut written = header.len() as u64;
    let mut failure = None;
    let done = pack.foreach(|chunk| {
        written += chunk.len() as u64;
        if written > max {
            failure = Some(format!("the result is larger than {max} bytes"));
        } else if let Err(error) = out.write_all(chunk) {
            failure = Some(format!("the result cannot be written: {error}"));
        }
        failure.is_none()
    });
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(done.and_then(|()| out.flush().map_err(|error| git2::Error::from_str(&error.to_string())))?),
    }
}
