//! Writes commits as a bundle of version 2: the result first, then the extra branches. Deliberately absent: reading a
//! bundle (the node does, in quarantine).

use std::{fs::File, io::Write};

use devstack_shim::layout;
use git2::{Oid, Repository};

use crate::{
    branches::Branch,
    trouble::{self, Failure},
};

/// The content of a bundle.
pub(crate) struct Content<'a> {
    pub(crate) result: Oid,
    pub(crate) branches: &'a [Branch],
    /// Commits that the reader has.
    pub(crate) known: &'a [Oid],
}

/// Why no bundle was written.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// It would exceed its size limit.
    TooLarge,
    /// Any other failure.
    Failed(Failure),
}

impl From<git2::Error> for Unwritten {
    fn from(error: git2::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<std::io::Error> for Unwritten {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes the bundle over the content of `out`.
pub(crate) fn write(repository: &Repository, content: &Content<'_>, max: u64, out: &File) -> Result<(), Unwritten> {
    let Content { result, branches, known } = content;
    trouble::empty(out)?;
    let mut out = out;
    let mut header = String::from("# v2 git bundle\n");
    known.iter().for_each(|id| header.push_str(&format!("-{id}\n")));
    header.push_str(&format!("{result} {}\n", layout::BUNDLE_REF));
    for Branch { name, tip } in *branches {
        header.push_str(&format!("{tip} {}{name}\n", layout::BRANCH_REFS));
    }
    header.push('\n');
    out.write_all(header.as_bytes())?;

    let mut walk = repository.revwalk()?;
    for tip in branches.iter().map(|branch| branch.tip).chain([*result]) {
        walk.push(tip)?;
    }
    known.iter().try_for_each(|id| walk.hide(*id))?;
    let mut pack = repository.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let mut written = header.len() as u64;
    let mut unwritten = None;
    let done = pack.foreach(|chunk| {
        written += chunk.len() as u64;
        if written > max {
            unwritten = Some(Unwritten::TooLarge);
        } else if let Err(error) = out.write_all(chunk) {
            unwritten = Some(error.into());
        }
        unwritten.is_none()
    });
    match unwritten {
        Some(unwritten) => Err(unwritten),
        None => Ok(done?),
    }
}
