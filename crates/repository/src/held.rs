//! Decides which results a user must review before they are merged: results that change a protected path, and results
//! that delete a large part of the tree. Pure functions over the differences between two trees; they run where results
//! are judged. Deliberately absent: the default protected paths (`config::protected`), and what follows from a held
//! result (the engine decides).

use std::collections::HashSet;

use git2::{Odb, Oid};
use serde::{Deserialize, Serialize};

use super::trees::{Stopped, changes::Change, entries::parse, read};
use devstack_config::protected::Protected;

/// Deletions up to this many files are always allowed.
const DELETED_FILES: usize = 50;
/// Deletions up to this percentage of the tree are always allowed.
const DELETED_PERCENT: usize = 30;
/// Number of paths that a reason names; the others are counted.
const NAMED: usize = 5;

/// The rules that hold a result of a task. The default holds nothing: it is for users' own results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Globs of protected paths, and names of sets of them.
    pub protected: Vec<String>,
    /// Globs of protected paths that this task may change.
    pub may_change: Vec<String>,
    /// Whether a mass deletion holds the result.
    pub deletions: bool,
}

impl Guard {
    /// Holds nothing.
    pub const NONE: Self = Self { protected: Vec::new(), may_change: Vec::new(), deletions: false };

    /// The protected paths among the changed ones, in order.
    ///
    /// # Errors
    /// An invalid glob, as text.
    pub(crate) fn protected<'c>(&self, changes: &'c [Change]) -> Result<Vec<&'c Change>, String> {
        let set = |globs: &[String]| {
            Protected::new(globs.iter().map(String::as_str)).map_err(|(glob, why)| format!("the glob `{glob}`: {why}"))
        };
        if self.protected.is_empty() {
            return Ok(Vec::new());
        }
        let (protected, free) = (set(&self.protected)?, set(&self.may_change)?);
        Ok(changes.iter().filter(|it| protected.has(&it.path) && !free.has(&it.path)).collect())
    }
}

/// Why a user must review a result with these changes against its base; ids are of trees. `name` displays a path.
pub(crate) fn why(
    guard: &Guard,
    odb: &Odb<'_>,
    (base, tip): (Oid, Oid),
    changes: &[Change],
    name: impl Fn(&[u8]) -> String,
) -> Result<Option<String>, Stopped> {
    let mut reasons = Vec::new();
    // An unknown glob from a newer version's plan must not let anything pass.
    match guard.protected(changes) {
        Ok(found) if found.is_empty() => {}
        Ok(found) => reasons.push(format!("it changes protected paths: {}", named(&found, &name))),
        Err(why) => reasons.push(format!("cannot check protected paths: {why}")),
    }
    if guard.deletions {
        let gone = deleted(odb, tip, changes)?;
        if gone.len() > DELETED_FILES {
            let files = files(odb, base)?;
            if gone.len() > files * DELETED_PERCENT / 100 {
                let named = named(&gone, &name);
                reasons.push(format!("it deletes {} of {files} files: {named}", gone.len()));
            }
        }
    }
    Ok((!reasons.is_empty()).then(|| reasons.join("; ")))
}

/// `a, b and 3 more`
fn named(changes: &[&Change], name: &impl Fn(&[u8]) -> String) -> String {
    let shown: Vec<String> = changes.iter().take(NAMED).map(|change| name(&change.path)).collect();
    let more = changes.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// Deleted files, except those whose content exists elsewhere in the result: these were moved.
fn deleted<'c>(odb: &Odb<'_>, tip: Oid, changes: &'c [Change]) -> Result<Vec<&'c Change>, Stopped> {
    let came: HashSet<Oid> = changes.iter().filter_map(|change| change.new).map(|new| new.id).collect();
    let is_gone = |change: &&Change| change.new.is_none() && change.old.is_some_and(|old| !came.contains(&old.id));
    let mut gone: Vec<&Change> = changes.iter().filter(is_gone).collect();
    if gone.len() > DELETED_FILES {
        // The whole tree is read only in this rare case: a copy may have existed all the time.
        let kept = blobs(odb, tip)?;
        gone.retain(|change| change.old.is_some_and(|old| !kept.contains(&old.id)));
    }
    Ok(gone)
}

/// The number of files in a tree. Each directory is read once, however often it occurs.
fn files(odb: &Odb<'_>, root: Oid) -> Result<usize, Stopped> {
    let mut counts = std::collections::HashMap::<Oid, usize>::new();
    let mut waiting = vec![root];
    while let Some(&tree) = waiting.last() {
        let raw = read(odb, tree)?;
        let (mut count, mut open) = (0usize, Vec::new());
        for entry in entries(&raw, tree)? {
            match entry {
                (id, true) => match counts.get(&id) {
                    Some(below) => count = count.saturating_add(*below),
                    None => open.push(id),
                },
                (_, false) => count = count.saturating_add(1),
            }
        }
        if open.is_empty() {
            counts.insert(tree, count);
            waiting.pop();
        } else {
            waiting.extend(open);
        }
    }
    Ok(counts.get(&root).copied().unwrap_or(0))
}

/// The contents in a tree. Each directory is read once, however often it occurs.
fn blobs(odb: &Odb<'_>, root: Oid) -> Result<HashSet<Oid>, Stopped> {
    let (mut found, mut seen) = (HashSet::new(), HashSet::from([root]));
    let mut waiting = vec![root];
    while let Some(tree) = waiting.pop() {
        let raw = read(odb, tree)?;
        for (id, is_directory) in entries(&raw, tree)? {
            if !is_directory {
                found.insert(id);
            } else if seen.insert(id) {
                waiting.push(id);
            }
        }
    }
    Ok(found)
}

/// Ids of a tree's entries, and whether each is a directory.
fn entries(raw: &git2::OdbObject<'_>, tree: Oid) -> Result<Vec<(Oid, bool)>, Stopped> {
    parse(raw.data())
        .map(|entry| {
            let entry = entry.map_err(|why| Stopped::Broken(format!("the tree {tree} has {why}")))?;
            Ok((super::trees::id_of(&entry), entry.is_directory()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
