//! The shape of new trees: every tree object that came with a result is looked at once, however often it is used, and
//! its depth, its longest path and the number of its paths follow from those within it. So ten objects take ten steps
//! whatever they stand for.
//! Deliberately absent: trees that were here before, which count as one entry ([`super::changes`] looks into those that
//! are at another place now), and commits.

use std::collections::{HashMap, HashSet};

use git2::{Odb, Oid};

use super::{Bounds, Stopped, entries::parse, id_of, read};

/// What a tree stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    /// New directories within each other, below this one.
    depth: usize,
    /// New paths below it.
    paths: u64,
    /// Bytes of the longest of them.
    longest: usize,
}

/// The shapes of new trees.
pub(crate) struct Shapes<'s, 'o> {
    /// The new objects alone: what is not in there is not new.
    odb: &'s Odb<'o>,
    new: &'s HashSet<Oid>,
    bounds: &'s Bounds,
    /// How a name may be shown: one that is a secret may not.
    shown: &'s dyn Fn(&[u8]) -> String,
    known: HashMap<Oid, Shape>,
}

/// A tree of which not all children are known yet.
struct Open {
    tree: Oid,
    children: std::vec::IntoIter<Oid>,
}

impl<'s, 'o> Shapes<'s, 'o> {
    /// `odb` holds the objects of `new` and no others.
    pub(crate) fn new(
        odb: &'s Odb<'o>,
        new: &'s HashSet<Oid>,
        bounds: &'s Bounds,
        shown: &'s dyn Fn(&[u8]) -> String,
    ) -> Self {
        Self { odb, new, bounds, shown, known: HashMap::new() }
    }

    /// Look at a tree and all new ones below it, each once.
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

    /// Look at a tree for the first time.
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

    /// May an entry have this name, beside those that were `folded` before?
    fn name(&self, name: &[u8], folded: &mut HashSet<String>) -> Result<(), Stopped> {
        let most = self.bounds.name_bytes;
        let why = if name.len() > most {
            format!("a name of {} bytes, more than {most}", name.len())
        } else if name.iter().any(u8::is_ascii_control) {
            "a name with a control character".to_owned()
        } else if self.bounds.case_twins && !folded.insert(String::from_utf8_lossy(name).to_lowercase()) {
            "two names that differ only in upper and lower case".to_owned()
        } else {
            return Ok(());
        };
        Err(Stopped::Bound(format!("{why}: {}", (self.shown)(name))))
    }

    /// What a tree stands for whose children are all known.
    fn measure(&self, tree: Oid) -> Result<Shape, Stopped> {
        let raw = read(self.odb, tree)?;
        let mut shape = Shape::default();
        for entry in parse(raw.data()).map_while(Result::ok) {
            let id = id_of(&entry);
            if !self.new.contains(&id) {
                continue;
            }
            // A tree within itself would need a broken SHA-1.
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
                "more than {paths} changed paths: its objects stand for {}",
                shape.paths
            )));
        }
        Ok(shape)
    }
}
