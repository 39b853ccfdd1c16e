//! The disk as a model: a tree of files and directories as a program sees it now, and what a power cut would leave of
//! it.
//!
//! Pure: no FUSE, no clock, no I/O but [`Image::materialise`]. Everything is volatile until [`Image::fsync`]: bytes and
//! length of a file by an fsync of the file, an entry by an fsync of its directory. Modes and owners are not tracked as
//! volatile: nothing under test depends on when they become durable. Inodes are never freed while an image lives, so
//! open files that were unlinked stay readable.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;

use crate::cut::{Cut, Data, Dice, Metadata};
use crate::pages::Pages;

/// Inode number.
pub(crate) type Ino = u64;

/// The root directory, as FUSE numbers it.
pub(crate) const ROOT: Ino = 1;

type Entries = BTreeMap<OsString, Ino>;

/// A file or a directory.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) body: Body,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Names that lead here now.
    pub(crate) links: u32,
}

/// What a node holds.
#[derive(Clone)]
pub(crate) enum Body {
    File(Pages),
    Dir {
        now: Entries,
        /// Entries at the last sync.
        synced: Entries,
    },
}

/// One directory entry set to an inode, or removed.
#[derive(Clone, Debug)]
struct Edit {
    dir: Ino,
    name: OsString,
    to: Option<Ino>,
}

/// The tree now, and the changes of entries that no fsync has covered, oldest first. The edits of one rename stand or
/// fall together, until an fsync covers one of its two directories.
#[derive(Clone)]
pub(crate) struct Image {
    nodes: BTreeMap<Ino, Node>,
    pending: Vec<Vec<Edit>>,
    next: Ino,
}

impl Image {
    /// An empty root directory.
    pub(crate) fn new() -> Self {
        let root = Node { body: dir(), mode: 0o755, links: 2 };
        Self { nodes: BTreeMap::from([(ROOT, root)]), pending: Vec::new(), next: ROOT + 1 }
    }

    pub(crate) fn node(&self, ino: Ino) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::ENOENT)
    }

    pub(crate) fn file(&self, ino: Ino) -> Result<&Pages, Errno> {
        match &self.node(ino)?.body {
            Body::File(pages) => Ok(pages),
            Body::Dir { .. } => Err(Errno::EISDIR),
        }
    }

    pub(crate) fn entries(&self, ino: Ino) -> Result<&BTreeMap<OsString, Ino>, Errno> {
        match &self.node(ino)?.body {
            Body::Dir { now, .. } => Ok(now),
            Body::File(_) => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn lookup(&self, dir: Ino, name: &OsStr) -> Result<Ino, Errno> {
        self.entries(dir)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(crate) fn create(&mut self, parent: Ino, name: &OsStr, mode: u32) -> Result<Ino, Errno> {
        self.add(parent, name, Node { body: Body::File(Pages::default()), mode, links: 1 })
    }

    pub(crate) fn mkdir(&mut self, parent: Ino, name: &OsStr, mode: u32) -> Result<Ino, Errno> {
        self.add(parent, name, Node { body: dir(), mode, links: 2 })
    }

    pub(crate) fn link(&mut self, ino: Ino, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        self.vacant(parent, name)?;
        self.node_mut(ino)?.links += 1;
        self.edit(vec![Edit { dir: parent, name: name.into(), to: Some(ino) }])
    }

    pub(crate) fn unlink(&mut self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        self.file(ino)?;
        self.drop_link(ino)?;
        self.edit(vec![Edit { dir: parent, name: name.into(), to: None }])
    }

    pub(crate) fn rmdir(&mut self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        self.empty(ino)?;
        self.drop_link(ino)?;
        self.edit(vec![Edit { dir: parent, name: name.into(), to: None }])
    }

    pub(crate) fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr), replace: bool) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        if let Ok(old) = self.lookup(to.0, to.1) {
            if !replace {
                return Err(Errno::EEXIST);
            }
            if old == ino {
                return Ok(());
            }
            match (&self.node(ino)?.body, &self.node(old)?.body) {
                (Body::File(_), Body::Dir { .. }) => return Err(Errno::EISDIR),
                (Body::Dir { .. }, Body::File(_)) => return Err(Errno::ENOTDIR),
                (Body::Dir { .. }, Body::Dir { .. }) => self.empty(old)?,
                (Body::File(_), Body::File(_)) => {}
            }
            self.drop_link(old)?;
        }
        self.edit(vec![
            Edit { dir: from.0, name: from.1.into(), to: None },
            Edit { dir: to.0, name: to.1.into(), to: Some(ino) },
        ])
    }

    pub(crate) fn write(&mut self, ino: Ino, offset: usize, data: &[u8]) -> Result<(), Errno> {
        self.file_mut(ino)?.write(offset, data);
        Ok(())
    }

    pub(crate) fn truncate(&mut self, ino: Ino, len: usize) -> Result<(), Errno> {
        self.file_mut(ino)?.truncate(len);
        Ok(())
    }

    pub(crate) fn chmod(&mut self, ino: Ino, mode: u32) -> Result<(), Errno> {
        self.node_mut(ino)?.mode = mode & 0o7777;
        Ok(())
    }

    /// Makes a file's bytes, or a directory's entries, durable; with a journal also every entry changed before.
    pub(crate) fn fsync(&mut self, ino: Ino, metadata: Metadata) -> Result<(), Errno> {
        if let Body::File(pages) = &mut self.node_mut(ino)?.body {
            pages.sync();
        }
        let mut pending = std::mem::take(&mut self.pending);
        for op in &mut pending {
            for edit in op.extract_if(.., |edit| metadata == Metadata::Prefix || edit.dir == ino) {
                self.make_durable(edit);
            }
        }
        pending.retain(|op| !op.is_empty());
        self.pending = pending;
        Ok(())
    }

    /// What a cut leaves, all of it durable if the power failed, and a line for each thing that it took.
    pub(crate) fn survivor(&self, cut: Cut, dice: &mut Dice) -> (Image, Vec<String>) {
        if !cut.power {
            return (self.clone(), Vec::new());
        }
        let mut left = self.clone();
        let mut touched = BTreeSet::new();
        let prefix = dice.below(self.pending.len() as u64 + 1) as usize;
        for (index, op) in std::mem::take(&mut left.pending).into_iter().enumerate() {
            let survives = match cut.metadata {
                Metadata::Dropped => false,
                Metadata::Prefix => index < prefix,
                Metadata::Subset => dice.coin(),
            };
            for edit in op {
                touched.insert((edit.dir, edit.name.clone()));
                if survives {
                    left.make_durable(edit);
                }
            }
        }
        let mut lost = touched.iter().filter_map(|(dir, name)| self.loss(&left, *dir, name)).collect();
        (left.reachable(self, cut.data, dice, &mut lost), lost)
    }

    /// Writes the tree out as plain files below `to`, which must exist.
    pub(crate) fn materialise(&self, to: &Path) -> io::Result<()> {
        self.write_out(ROOT, to)
    }

    /// The path of a node, for reports.
    pub(crate) fn path(&self, ino: Ino) -> std::path::PathBuf {
        if ino == ROOT {
            return "/".into();
        }
        let parent = self.nodes.keys().find_map(|&dir| {
            let entries = self.entries(dir).ok()?;
            entries.iter().find(|(_, to)| **to == ino).map(|(name, _)| (dir, name))
        });
        match parent {
            Some((dir, name)) => self.path(dir).join(name),
            None => format!("(unlinked inode {ino})").into(),
        }
    }

    /// What happened to an entry, if it is not as it was.
    fn loss(&self, left: &Image, dir: Ino, name: &OsStr) -> Option<String> {
        let now = self.lookup(dir, name).ok();
        let then = match &left.nodes[&dir].body {
            Body::Dir { synced, .. } => synced.get(name).copied(),
            Body::File(_) => None,
        };
        let what = match (now, then) {
            (now, then) if now == then => return None,
            (Some(_), None) => "missing",
            (None, Some(_)) => "back",
            _ => "an older file",
        };
        Some(format!("{} is {what}", self.path(dir).join(name).display()))
    }

    /// The synced tree only, with fresh link counts; bytes of files pass through the cut.
    fn reachable(&self, before: &Image, data: Data, dice: &mut Dice, lost: &mut Vec<String>) -> Image {
        let mut image = Image { nodes: BTreeMap::new(), pending: Vec::new(), next: self.next };
        let mut stack = vec![ROOT];
        while let Some(ino) = stack.pop() {
            if let Some(seen) = image.nodes.get_mut(&ino) {
                seen.links += 1;
                continue;
            }
            let node = &self.nodes[&ino];
            let (body, links) = match &node.body {
                Body::Dir { synced, .. } => {
                    stack.extend(synced.values());
                    (Body::Dir { now: synced.clone(), synced: synced.clone() }, 2)
                }
                Body::File(pages) => {
                    let (left, gone) = pages.survivor(data, dice);
                    let (unsynced, resized) = pages.unsynced();
                    if gone > 0 || (resized && left.len() != pages.len()) {
                        let (path, now, then) = (before.path(ino), pages.len(), left.len());
                        lost.push(format!("{gone} of {unsynced} pages of {}, {now} -> {then} bytes", path.display()));
                    }
                    (Body::File(Pages::durable(left)), 1)
                }
            };
            image.nodes.insert(ino, Node { body, mode: node.mode, links });
        }
        image
    }

    fn write_out(&self, dir: Ino, to: &Path) -> io::Result<()> {
        for (name, &ino) in self.entries(dir)? {
            let (node, path) = (self.node(ino)?, to.join(name));
            match &node.body {
                Body::File(pages) => fs::write(&path, pages.bytes())?,
                Body::Dir { .. } => {
                    fs::create_dir(&path)?;
                    self.write_out(ino, &path)?;
                }
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(node.mode))?;
        }
        Ok(())
    }

    fn add(&mut self, parent: Ino, name: &OsStr, node: Node) -> Result<Ino, Errno> {
        self.vacant(parent, name)?;
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, node);
        self.edit(vec![Edit { dir: parent, name: name.into(), to: Some(ino) }])?;
        Ok(ino)
    }

    fn vacant(&self, dir: Ino, name: &OsStr) -> Result<(), Errno> {
        if self.entries(dir)?.contains_key(name) { Err(Errno::EEXIST) } else { Ok(()) }
    }

    fn empty(&self, dir: Ino) -> Result<(), Errno> {
        if self.entries(dir)?.is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY) }
    }

    fn edit(&mut self, op: Vec<Edit>) -> Result<(), Errno> {
        for edit in &op {
            let Body::Dir { now, .. } = &mut self.node_mut(edit.dir)?.body else { return Err(Errno::ENOTDIR) };
            apply(now, edit.clone());
        }
        self.pending.push(op);
        Ok(())
    }

    fn make_durable(&mut self, edit: Edit) {
        if let Some(Node { body: Body::Dir { synced, .. }, .. }) = self.nodes.get_mut(&edit.dir) {
            apply(synced, edit);
        }
    }

    fn drop_link(&mut self, ino: Ino) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        node.links = node.links.saturating_sub(1);
        Ok(())
    }

    fn node_mut(&mut self, ino: Ino) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ENOENT)
    }

    fn file_mut(&mut self, ino: Ino) -> Result<&mut Pages, Errno> {
        match &mut self.node_mut(ino)?.body {
            Body::File(pages) => Ok(pages),
            Body::Dir { .. } => Err(Errno::EISDIR),
        }
    }
}

fn dir() -> Body {
    Body::Dir { now: Entries::new(), synced: Entries::new() }
}

fn apply(entries: &mut Entries, edit: Edit) {
    match edit.to {
        Some(ino) => entries.insert(edit.name, ino),
        None => entries.remove(&edit.name),
    };
}

#[cfg(test)]
mod tests;
