//! Notes that an agent is about to be started in a workspace that is whole: an attempt whose shim was killed before that
//! has nothing to harvest, and half a checkout must never be taken for work.
//!
//! Deliberately absent: a sync. What is left after a power cut is not harvested either, if the note is lost with it.

use std::{
    fs::File,
    io::{self, Write},
};

use devstack_shim::{layout, spec::Spec};

use crate::confine;

/// The note, opened while the shim still may write in its own directory.
pub(crate) struct Mark(Option<File>);

impl Mark {
    /// Empty; without anything to harvest there is no file.
    pub(crate) fn open(spec: &Spec) -> io::Result<Self> {
        let wanted = spec.git.as_ref().is_some_and(|git| git.harvest);
        Ok(Self(wanted.then(|| confine::create(&spec.dir.join(layout::STARTED))).transpose()?))
    }

    /// The workspace is whole and the agent comes next.
    pub(crate) fn set(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |file| file.write_all(b"1"))
    }
}

/// Was it set? The agent can take it away, and loses its own work by that.
pub(crate) fn is_set(spec: &Spec) -> bool {
    std::fs::symlink_metadata(spec.dir.join(layout::STARTED)).is_ok_and(|file| file.is_file() && file.len() > 0)
}
