//! Trees as data: our own parser of tree objects and our own tree walks, which use a list instead of recursion and stop
//! at their bounds. Everything that an agent wrote is walked here first; git's library sees only what passed.
//!
//! | file | what it does |
//! |---|---|
//! | [`entries`] | the entries of one raw tree object |
//! | [`reach`] | which new objects some commits reach |
//! | [`shape`] | depth, paths and names of new trees, each checked once |
//! | [`changes`] | the differences between two trees, path by path |
//!
//! Deliberately absent: commits, the content of files, and the meaning of a change.

pub(crate) mod changes;
pub(crate) mod entries;
pub(crate) mod reach;
pub(crate) mod shape;

use git2::{ObjectType, Odb, OdbObject, Oid};

use self::entries::Entry;

/// The bounds of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Bounds {
    /// Depth of nested directories. Default 128: the deepest of 22 large public repositories has 19.
    pub depth: usize,
    /// Length of a path in bytes. Default 4,095 (PATH_MAX without its terminator).
    pub path_bytes: usize,
    /// Length of a name in bytes. Default 255, the limit of common file systems.
    pub name_bytes: usize,
    /// Number of changed paths. Default 50,000.
    pub paths: usize,
    /// Whether to refuse names in one directory that differ only in case. Default no: they are common in projects that
    /// are never checked out on macOS or Windows.
    pub case_twins: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 128, path_bytes: 4_095, name_bytes: 255, paths: 50_000, case_twins: false }
    }
}

impl Bounds {
    /// Whether a directory may be this many levels below the root.
    fn level(&self, level: usize) -> Result<(), Stopped> {
        if level > self.depth {
            return Err(Stopped::Bound(format!("directories more than {} levels deep", self.depth)));
        }
        Ok(())
    }
}

/// The largest tree object that is read, in bytes: 50,000 entries with names of 255 bytes.
const TREE_MAX: usize = 16 << 20;

/// Why a walk stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// A bound was reached; says which, for an agent or a user.
    Bound(String),
    /// An object is missing, or is not a tree.
    Broken(String),
}

/// Reads a whole tree object; one that is too large is refused unread.
pub(crate) fn read<'o>(odb: &'o Odb<'_>, tree: Oid) -> Result<OdbObject<'o>, Stopped> {
    let broken = |error: git2::Error| Stopped::Broken(format!("cannot read the tree {tree}: {}", error.message()));
    let (size, kind) = odb.read_header(tree).map_err(broken)?;
    if kind != ObjectType::Tree {
        return Err(Stopped::Broken(format!("{tree} is not a tree")));
    }
    if size > TREE_MAX {
        return Err(Stopped::Bound(format!("a directory takes {} MiB, more than {}", size >> 20, TREE_MAX >> 20)));
    }
    odb.read(tree).map_err(broken)
}

/// The object id of an entry.
pub(crate) fn id_of(entry: &Entry<'_>) -> Oid {
    Oid::from_bytes(&entry.id).unwrap_or(Oid::ZERO_SHA1) // 20 bytes are always one
}
