//! Trees as data: an own parser of tree objects and own walks of them, which use a list where others recurse and stop
//! at their bounds. Whatever an agent wrote is walked here first; git's library sees only what passed.
//!
//! | file | what it does |
//! |---|---|
//! | [`entries`] | the entries of one raw tree object |
//! | [`reach`] | what of new objects some commits reach |
//! | [`shape`] | depth, paths and names of new trees, each looked at once |
//! | [`changes`] | what differs between two trees, path by path |
//!
//! Deliberately absent: commits, the content of files, and what a change means.

pub(crate) mod changes;
pub(crate) mod entries;
pub(crate) mod reach;
pub(crate) mod shape;

use git2::{ObjectType, Odb, OdbObject, Oid};

use self::entries::Entry;

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Bounds {
    /// Directories within each other. Default 128: the deepest of 22 large public repositories has 19.
    pub depth: usize,
    /// Bytes of a path. Default 4,095 (PATH_MAX without its end).
    pub path_bytes: usize,
    /// Bytes of a name. Default 255, what common file systems take.
    pub name_bytes: usize,
    /// Changed paths. Default 50,000.
    pub paths: usize,
    /// Refuse names of one directory that differ only in upper and lower case. Default no: they are common in projects
    /// that are never checked out on macOS or Windows.
    pub case_twins: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 128, path_bytes: 4_095, name_bytes: 255, paths: 50_000, case_twins: false }
    }
}

impl Bounds {
    /// May a directory be so many levels below the root?
    fn level(&self, level: usize) -> Result<(), Stopped> {
        if level > self.depth {
            return Err(Stopped::Bound(format!("directories more than {} levels deep", self.depth)));
        }
        Ok(())
    }
}

/// Of a tree object, so many bytes are read: 50,000 entries with names of 255 bytes.
const TREE_MAX: usize = 16 << 20;

/// Why a walk stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// A bound was reached; says which, for an agent and a person.
    Bound(String),
    /// An object is missing or is no tree.
    Broken(String),
}

/// A tree object, whole; refuses one that is too large unread.
pub(crate) fn read<'o>(odb: &'o Odb<'_>, tree: Oid) -> Result<OdbObject<'o>, Stopped> {
    let broken = |error: git2::Error| Stopped::Broken(format!("the tree {tree} cannot be read: {}", error.message()));
    let (size, kind) = odb.read_header(tree).map_err(broken)?;
    if kind != ObjectType::Tree {
        return Err(Stopped::Broken(format!("{tree} is no tree")));
    }
    if size > TREE_MAX {
        return Err(Stopped::Bound(format!("a directory takes {} MiB, more than {}", size >> 20, TREE_MAX >> 20)));
    }
    odb.read(tree).map_err(broken)
}

/// The object that an entry names.
pub(crate) fn id_of(entry: &Entry<'_>) -> Oid {
    Oid::from_bytes(&entry.id).unwrap_or(Oid::ZERO_SHA1) // 20 bytes are always one
}
