//! The shape of new trees. Every tree object of a result is read once, however often it is used; its depth, its longest
//! path and its number of paths follow from the trees inside it. Ten objects therefore take ten steps, however many
//! paths they describe. Deliberately absent: trees that existed before, which count as one entry ([`super::changes`]
//! reads those that are now at another place), and commits.

use std::collections::{HashMap, HashSet};

use git2::{Odb, Oid};

use super::{Bounds, Stopped, entries::parse, id_of, read};

/// The shape of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    /// Depth of nested new directories below this tree.
    depth: usize,
    /// Number of new paths below it.
    paths: u64,
    /// Length of the longest of them in bytes.
    longest: usize,
}

/// The shapes of new trees.
pub(crate) struct Shapes<'s, 'o> {
    /// Only the new objects: a missing object is not new.
    odb: &'s Odb<'o>,
    new: &'s HashSet<Oid>,
    bounds: &'s Bounds,
    /// Returns a name for display: a secret name must not be shown.
    shown: &'s dyn Fn(&[u8]) -> String,
    known: HashMap<Oid, Shape>,
}

/// A tree with children that are not measured yet.
struct Open {
    tree: Oid,
    children: std::vec::IntoIter<Oid>,
}

impl<'s, 'o> Shapes<'s, 'o> {
    /// `odb` contains exactly the objects of `new`.
    pub(crate) fn new(
        odb: &'s Odb<'o>,
        new: &'s HashSet<Oid>,
        bounds: &'s Bounds,
        shown: &'s dyn Fn(&[u8]) -> String,
    ) -> Self {
        Self { odb, new, bounds, shown, known: HashMap::new() }
    }

    /// Measures a tree and all new trees below it, each once.
    pub(crate) fn visit(&mut self, root: Oid) -> Result<(), Stopped> {
        let mut open = Vec::new();
        self.open(root, &mut open)?;
        while let Some(last) = open.last_mut() {
            match last.children.next() {
                Some(child) => self.open(child, &mut open)?,
                None => {
                    let tree = last.tree;
                    open.pop();
                    let shape = self.measure(tree)?;
                    self.known.insert(tree, shape);
                }
            }
        }
        Ok(())
    }

    /// Reads a tree for the first time.
    fn open(&mut self, tree: Oid, open: &mut Vec<Open>) -> Result<(), Stopped> {
        if !self.new.contains(&tree) || self.known.contains_key(&tree) {
            return Ok(());
        }
        self.bounds.level(open.len())?;
        let raw = read(self.odb, tree)?;
        let (mut children, mut folded) = (Vec::new(), HashSet::new());
        for entry in parse(raw.data()) {
            let entry = entry.map_err(|why| Stopped::Broken(format!("the tree {tree} has {why}")))?;
            self.name(entry.name, &mut folded)?;
            let id = id_of(&entry);
            if entry.is_directory() && self.new.contains(&id) {
                children.push(id);
            }
        }
        open.push(Open { tree, children: children.into_iter() });
        Ok(())
    }

    /// Checks whether an entry may have this name, next to the names already `folded`.
    fn name(&self, name: &[u8], folded: &mut HashSet<String>) -> Result<(), Stopped> {
        let most = self.bounds.name_bytes;
        let why = if name.len() > most {
            format!("a name of {} bytes, more than {most}", name.len())
        } else if name.iter().any(u8::is_ascii_control) {
            "a name with a control character".to_owned()
        } else if self.bounds.case_twins && !folded.insert(String::from_utf8_lossy(name).to_lowercase()) {
            "two names that differ only in case".to_owned()
        } else {
            return Ok(());
        };
        Err(Stopped::Bound(format!("{why}: {}", (self.shown)(name))))
    }

    /// The shape of a tree whose children are all measured.
    fn measure(&self, tree: Oid) -> Result<Shape, Stopped> {
        let raw = read(self.odb, tree)?;
        let mut shape = Shape::default();
        for entry in parse(raw.data()).map_while(Result::ok) {
            let id = id_of(&entry);
            if !self.new.contains(&id) {
                continue;
            }
            // A tree inside itself would require a broken SHA-1.
            let below =
                if entry.is_directory() { self.known.get(&id).copied().unwrap_or_default() } else { Shape::default() };
            let (levels, paths) = if entry.is_directory() { (below.depth + 1, below.paths) } else { (0, 1) };
            let slash = usize::from(below.longest > 0);
            shape.depth = shape.depth.max(levels);
            shape.paths = shape.paths.saturating_add(paths);
            shape.longest = shape.longest.max(entry.name.len() + slash + below.longest);
        }
        let Bounds { depth, path_bytes, paths, .. } = *self.bounds;
        if shape.depth > depth {
            return Err(Stopped::Bound(format!("directories {} levels deep, more than {depth}", shape.depth)));
        }
        if shape.longest > path_bytes {
            return Err(Stopped::Bound(format!("a path of {} bytes, more than {path_bytes}", shape.longest)));
        }
        if shape.paths > paths as u64 {
            return Err(Stopped::Bound(format!(
                "more than {paths} changed paths: its objects expand to {}",
                shape.paths
            )));
        }
        Ok(shape)
    }
}
