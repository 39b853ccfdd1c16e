//! The disk behind the FUSE handlers: the image, the count of changing calls, and the cut itself.

use std::collections::VecDeque;
use std::ffi::OsString;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cut::{Cut, Dice};
use crate::image::{Image, Ino};

/// Calls kept for the report of a failure.
const HISTORY: usize = 20;

/// A changing call, as it is reported.
#[derive(Clone)]
pub(crate) struct Call {
    verb: &'static str,
    ino: Ino,
    name: OsString,
    detail: String,
}

impl Call {
    pub(crate) fn new(verb: &'static str, ino: Ino, name: impl Into<OsString>, detail: String) -> Self {
        Self { verb, ino, name: name.into(), detail }
    }
}

/// An image under power until its cut.
pub(crate) struct Disk {
    pub(crate) image: Image,
    cut: Cut,
    changes: u64,
    off: bool,
    /// Process group that dies at the cut.
    victim: Option<Pid>,
    history: VecDeque<Call>,
}

impl Disk {
    pub(crate) fn new(image: Image, cut: Cut) -> Self {
        Self { image, cut, changes: 0, off: false, victim: None, history: VecDeque::new() }
    }

    /// Names the process group that dies at the cut. Set it under the same lock as the start of the group's leader.
    pub(crate) fn power(&mut self, group: Pid) {
        self.victim = Some(group);
    }

    /// Whether the cut has come.
    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    /// Counts a changing call. The one that the cut waits for does not happen: the writers are killed first and only
    /// then see an error, so they cannot act on it.
    pub(crate) fn change(&mut self, call: Call) -> Result<(), Errno> {
        if self.off {
            return Err(Errno::EIO);
        }
        self.changes += 1;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(call);
        if self.changes < self.cut.at {
            return Ok(());
        }
        self.off = true;
        if let Some(group) = self.victim {
            // The group cannot be gone: a member of it waits for this call.
            let _ = killpg(group, Signal::SIGKILL);
        }
        Err(Errno::EIO)
    }

    /// An fsync of a file or directory.
    pub(crate) fn fsync(&mut self, ino: Ino) -> Result<(), Errno> {
        self.change(Call::new("fsync", ino, "", String::new()))?;
        self.image.fsync(ino, self.cut.metadata)
    }

    /// What is left, and the report of the cut: the last calls, then everything that was lost.
    pub(crate) fn survivor(&self, dice: &mut Dice) -> (Image, String) {
        let (image, lost) = self.image.survivor(self.cut, dice);
        let mut report =
            format!("{:?} after {} changing calls\nlast calls, the last one did not happen:\n", self.cut, self.changes);
        for Call { verb, ino, name, detail } in &self.history {
            let path = self.image.path(*ino).join(name);
            report += &format!("  {verb} {} {detail}\n", path.display());
        }
        report += "lost:\n";
        for line in lost {
            report += &format!("  {line}\n");
        }
        (image, report)
    }
}
