//! The differences between two trees, path by path, as a file system would see them. The walk descends only where the
//! ids differ, keeps a list instead of recursing, and stops at the bounds, so that ten objects cannot expand to ten to
//! the tenth paths. Deliberately absent: renames, and the content of files.

use std::{cmp::Ordering, ops::ControlFlow};

use git2::{Odb, OdbObject, Oid};

use super::{
    Bounds, Stopped,
    entries::{Entry, parse},
    id_of, read,
};

/// Number of entries read in a whole walk: the minimum, and the number per path that may change. A directory of a
/// thousand files in which one changes costs two thousand.
const LOOKED_AT: (usize, usize) = (100_000, 100);

/// The object at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    /// The object's id.
    pub(crate) id: Oid,
    /// The mode in the tree: `0o100644` a file, `0o100755` a program, `0o120000` a link, `0o160000` a submodule.
    pub(crate) mode: u32,
}

/// One path that differs. Directories are not listed, only their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The whole path, with `/`.
    pub(crate) path: Vec<u8>,
    /// The old object; `None`: nothing, or a directory.
    pub(crate) old: Option<Side>,
    /// The new object; `None`: nothing, or a directory.
    pub(crate) new: Option<Side>,
}

/// All changes from `old` to `new`, ids of trees (`None`: the empty tree), in the order of their paths within each
/// directory; [`Stopped::Bound`] for more than [`Bounds::paths`].
pub(crate) fn changes(
    odb: &Odb<'_>,
    old: Option<Oid>,
    new: Option<Oid>,
    bounds: &Bounds,
) -> Result<Vec<Change>, Stopped> {
    let mut found = Vec::new();
    let _ = each_change(odb, old, new, bounds, &mut |change| {
        found.push(change);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(found)
}

/// Like [`changes`], one by one, until `visit` breaks.
pub(crate) fn each_change<B>(
    odb: &Odb<'_>,
    old: Option<Oid>,
    new: Option<Oid>,
    bounds: &Bounds,
    visit: &mut dyn FnMut(Change) -> ControlFlow<B>,
) -> Result<ControlFlow<B>, Stopped> {
    if old == new {
        return Ok(ControlFlow::Continue(()));
    }
    let mut walk = Walk { odb, bounds, paths: 0, looked_at: 0, waiting: Vec::new() };
    walk.waiting.push(Pair { path: Vec::new(), depth: 0, old, new });
    while let Some(pair) = walk.waiting.pop() {
        if let ControlFlow::Break(broken) = walk.directory(pair, visit)? {
            return Ok(ControlFlow::Break(broken));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Two directories at one path, of which at least one exists.
struct Pair {
    path: Vec<u8>,
    depth: usize,
    old: Option<Oid>,
    new: Option<Oid>,
}

struct Walk<'w, 'o> {
    odb: &'w Odb<'o>,
    bounds: &'w Bounds,
    paths: usize,
    looked_at: usize,
    waiting: Vec<Pair>,
}

impl Walk<'_, '_> {
    fn directory<B>(
        &mut self,
        pair: Pair,
        visit: &mut dyn FnMut(Change) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Stopped> {
        let raw = |tree: Option<Oid>| tree.map(|tree| read(self.odb, tree)).transpose();
        let (old, new) = (raw(pair.old)?, raw(pair.new)?);
        let (old, new) = (sorted(old.as_ref())?, sorted(new.as_ref())?);
        self.looked_at += old.len() + new.len() + 1;
        if self.looked_at > LOOKED_AT.0.max(self.bounds.paths.saturating_mul(LOOKED_AT.1)) {
            return Err(Stopped::Bound("it has too many or too large directories to compare".into()));
        }
        let first = self.waiting.len();
        for (old, new) in pairs(&old, &new) {
            if let ControlFlow::Break(broken) = self.entry(&pair, old, new, visit)? {
                return Ok(ControlFlow::Break(broken));
            }
        }
        self.waiting[first..].reverse(); // the last element is taken first
        Ok(ControlFlow::Continue(()))
    }

    fn entry<B>(
        &mut self,
        pair: &Pair,
        old: Option<&Entry<'_>>,
        new: Option<&Entry<'_>>,
        visit: &mut dyn FnMut(Change) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Stopped> {
        let Some(any) = new.or(old) else { return Ok(ControlFlow::Continue(())) };
        if old.zip(new).is_some_and(|(old, new)| (old.mode, old.id) == (new.mode, new.id)) {
            return Ok(ControlFlow::Continue(()));
        }
        let path = joined(&pair.path, any.name);
        if path.len() > self.bounds.path_bytes {
            return Err(Stopped::Bound(format!(
                "a path of {} bytes, more than {}",
                path.len(),
                self.bounds.path_bytes
            )));
        }
        let side = |entry: Option<&Entry<'_>>| entry.filter(|entry| !entry.is_directory()).map(side);
        let (old_side, new_side) = (side(old), side(new));
        if old_side.is_some() || new_side.is_some() {
            self.paths += 1;
            self.count()?;
            let change = Change { path: path.clone(), old: old_side, new: new_side };
            if let ControlFlow::Break(broken) = visit(change) {
                return Ok(ControlFlow::Break(broken));
            }
        }
        let below = |entry: Option<&Entry<'_>>| entry.filter(|entry| entry.is_directory()).map(|entry| id_of(entry));
        let (old, new) = (below(old), below(new));
        if (old.is_some() || new.is_some()) && old != new {
            let depth = pair.depth + 1;
            if depth > self.bounds.depth {
                return Err(Stopped::Bound(format!("directories more than {} levels deep", self.bounds.depth)));
            }
            self.waiting.push(Pair { path, depth, old, new });
            self.count()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A directory that differs contains at least one path that differs.
    fn count(&self) -> Result<(), Stopped> {
        if self.paths + self.waiting.len() > self.bounds.paths {
            return Err(Stopped::Bound(format!("more than {} changed paths", self.bounds.paths)));
        }
        Ok(())
    }
}

/// The entries by name: a source may contain trees that are not in git's order.
fn sorted<'a>(raw: Option<&'a OdbObject<'_>>) -> Result<Vec<Entry<'a>>, Stopped> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let entries: Result<Vec<_>, _> = parse(raw.data()).collect();
    let mut entries = entries.map_err(|why| Stopped::Broken(format!("the tree {} has {why}", raw.id())))?;
    entries.sort_by(|a, b| a.name.cmp(b.name));
    Ok(entries)
}

/// Pairs the entries of both lists by name.
fn pairs<'e, 'a>(
    old: &'e [Entry<'a>],
    new: &'e [Entry<'a>],
) -> impl Iterator<Item = (Option<&'e Entry<'a>>, Option<&'e Entry<'a>>)> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(new.name),
        };
        Some(match order {
            Ordering::Less => (old.next(), None),
            Ordering::Greater => (None, new.next()),
            Ordering::Equal => (old.next(), new.next()),
        })
    })
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

fn side(entry: &Entry<'_>) -> Side {
    Side { id: id_of(entry), mode: entry.mode }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use git2::{Repository, build::TreeUpdateBuilder};
    use proptest::prelude::*;

    use super::*;

    /// A tree of these files: path, content, mode.
    fn tree_of(repo: &Repository, files: &BTreeMap<String, (u8, bool)>) -> Oid {
        let empty = repo.treebuilder(None).expect("works").write().expect("written");
        let mut builder = TreeUpdateBuilder::new();
        for (path, (content, is_program)) in files {
            let mode = if *is_program { git2::FileMode::BlobExecutable } else { git2::FileMode::Blob };
            builder.upsert(path.as_str(), repo.blob(&[*content]).expect("written"), mode);
        }
        builder.create_updated(repo, &repo.find_tree(empty).expect("there")).expect("no file is a directory too")
    }

    /// Paths from a few names, so that files and directories collide.
    fn files() -> impl Strategy<Value = BTreeMap<String, (u8, bool)>> {
        let name = prop::sample::select(vec!["a", "a.b", "a0", "b", "\u{e9}"]);
        let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
        prop::collection::btree_map(path, (0u8..3, any::<bool>()), 0..12).prop_map(|mut files| {
            let paths: Vec<String> = files.keys().cloned().collect();
            files.retain(|path, _| !paths.iter().any(|other| other.starts_with(&format!("{path}/"))));
            files
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Compared with the library, which is trusted with our own small trees.
        #[test]
        fn changes_are_those_that_git_finds(old in files(), new in files()) {
            let dir = tempfile::tempdir().expect("scratch");
            let repo = Repository::init_bare(dir.path()).expect("made");
            let (old, new) = (tree_of(&repo, &old), tree_of(&repo, &new));
            let odb = repo.odb().expect("opens");
            let ours = changes(&odb, Some(old), Some(new), &Bounds::default()).expect("within bounds");
            let ids = |change: Change| (change.path, change.old.map(|s| s.id), change.new.map(|s| s.id));
            let mut ours: Vec<_> = ours.into_iter().map(ids).collect();
            let trees = [old, new].map(|id| repo.find_tree(id).expect("there"));
            let diff = repo.diff_tree_to_tree(Some(&trees[0]), Some(&trees[1]), None).expect("works");
            let id = |file: git2::DiffFile<'_>| Some(file.id()).filter(|id| !id.is_zero());
            let mut theirs: Vec<_> = diff
                .deltas()
                .map(|delta| {
                    let path = delta.new_file().path_bytes().or(delta.old_file().path_bytes()).expect("a path");
                    (path.to_vec(), id(delta.old_file()), id(delta.new_file()))
                })
                .collect();
            ours.sort();
            theirs.sort();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_walk_stops_at_its_bounds() {
        let dir = tempfile::tempdir().expect("scratch");
        let repo = Repository::init_bare(dir.path()).expect("made");
        let files: BTreeMap<_, _> = ["a/b/c", "d", "e"].into_iter().map(|path| (path.to_owned(), (1, false))).collect();
        let (tree, odb) = (tree_of(&repo, &files), repo.odb().expect("opens"));
        let walk = |bounds| changes(&odb, None, Some(tree), &bounds).map(|changes| changes.len());
        let within = Bounds { paths: 3, depth: 2, path_bytes: 5, ..Bounds::default() };
        assert_eq!(walk(within).expect("exactly at its bounds"), 3);
        for less in [Bounds { paths: 2, ..within }, Bounds { depth: 1, ..within }, Bounds { path_bytes: 4, ..within }] {
            assert!(matches!(walk(less), Err(Stopped::Bound(_))), "{less:?}");
        }
        assert_eq!(changes(&odb, Some(tree), Some(tree), &within).expect("the same").len(), 0);
        let gone = changes(&odb, Some(tree), None, &within).expect("within bounds");
        assert!(gone.iter().all(|change| change.new.is_none()) && gone.len() == 3);
    }
}
