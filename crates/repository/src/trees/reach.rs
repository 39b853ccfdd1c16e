//! Finds which of the new objects are reachable from some commits. Each object is read once, from a list.
//! Deliberately absent: objects that existed before: the walk stops at them and does not read them.

use std::collections::HashSet;

use devstack_dag::ids::CommitId;
use git2::{Odb, Oid, Repository};

use super::{Bounds, Stopped, entries::parse, read};
use crate::oid;

/// The largest commit object, in bytes: a message of a thousand screens.
const COMMIT_MAX: usize = 1 << 20;

/// The reachable objects.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// All of them.
    pub(crate) objects: HashSet<Oid>,
    /// The trees of the reachable commits.
    pub(crate) roots: Vec<Oid>,
}

/// The objects of `new` (the new objects, and the only ones in `came`) that are reachable from `tips`, which are
/// commits of `repo`. Stops at once below a tree that is too deep on the path by which it was reached first. Only
/// [`super::shape`] makes sure that no path is too deep.
pub(crate) fn reachable(
    repo: &Repository,
    came: &Odb<'_>,
    new: &HashSet<Oid>,
    tips: impl IntoIterator<Item = CommitId>,
    bounds: &Bounds,
) -> Result<Reached, Stopped> {
    let mut reached = Reached::default();
    let mut commits: Vec<Oid> = tips.into_iter().map(oid).collect();
    let mut trees = Vec::new();
    while let Some(id) = commits.pop() {
        if !new.contains(&id) || !reached.objects.insert(id) {
            continue;
        }
        let broken = |error: git2::Error| Stopped::Broken(format!("cannot read the commit {id}: {}", error.message()));
        let (size, _) = came.read_header(id).map_err(broken)?;
        if size > COMMIT_MAX {
            return Err(Stopped::Bound(format!(
                "commit {id:.12} takes {} KiB, more than {}",
                size >> 10,
                COMMIT_MAX >> 10
            )));
        }
        let commit = repo.find_commit(id).map_err(broken)?;
        reached.roots.push(commit.tree_id());
        trees.push((commit.tree_id(), 0));
        commits.extend(commit.parent_ids());
    }
    while let Some((id, level)) = trees.pop() {
        if !new.contains(&id) || !reached.objects.insert(id) {
            continue;
        }
        bounds.level(level)?;
        let raw = read(came, id)?;
        for entry in parse(raw.data()) {
            let entry = entry.map_err(|why| Stopped::Broken(format!("the tree {id} has {why}")))?;
            let child = super::id_of(&entry);
            if entry.is_directory() {
                trees.push((child, level + 1));
            } else if new.contains(&child) {
                reached.objects.insert(child);
            }
        }
    }
    Ok(reached)
}
