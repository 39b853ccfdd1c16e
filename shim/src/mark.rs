//! Marks that an agent is about to start in a complete workspace. An attempt whose shim was killed before that mark has
//! nothing to harvest: half a checkout must never be taken for work.
//!
//! Deliberately absent: a sync. If a power cut loses the mark, the attempt is not harvested either.

use std::{
    fs::File,
    io::{self, Write},
};

use devstack_shim::{layout, spec::Spec};

use crate::confine;

/// The mark, opened while the shim still has write permission in its own directory.
pub(crate) struct Mark(Option<File>);

impl Mark {
    /// Opens an empty file; without anything to harvest there is no file.
    pub(crate) fn open(spec: &Spec) -> io::Result<Self> {
        let wanted = spec.git.as_ref().is_some_and(|git| git.harvest);
        Ok(Self(wanted.then(|| confine::create(&spec.dir.join(layout::STARTED))).transpose()?))
    }

    /// Marks that the workspace is complete and the agent starts next.
    pub(crate) fn set(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |file| file.write_all(b"1"))
    }
}

/// Whether the mark was set. The agent can remove it, but then loses only its own work.
pub(crate) fn is_set(spec: &Spec) -> bool {
    std::fs::symlink_metadata(spec.dir.join(layout::STARTED)).is_ok_and(|file| file.is_file() && file.len() > 0)
}
