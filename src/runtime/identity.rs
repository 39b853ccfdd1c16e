//! Which process runs an attempt: pid, start time and boot, as the shim wrote them when it claimed the attempt. All
//! three must match, so a pid that was given to somebody else since is never waited for or signalled.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::Path,
};

use devstack_shim::{layout, procs};
use rustix::process::{PidfdFlags, pidfd_open};

/// A process of one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: i32,
    started: u64,
    boot_id: String,
}

impl Identity {
    /// Does it still run?
    pub(super) fn is_alive(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id
            && procs::get(self.pid).is_some_and(|process| process.is_alive() && process.started == self.started)
    }

    /// Was it written in this boot?
    pub(super) fn is_of(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id
    }

    /// A descriptor that stays with this process and nobody else; `None`: it is over. Looked at only after it was
    /// opened, so the pid cannot change hands in between.
    pub(super) fn open(&self, boot_id: &str) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(self.is_alive(boot_id).then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The identity in an attempt's directory; `None`: no shim claimed it yet.
pub(super) fn read(dir: &Path) -> io::Result<Option<Identity>> {
    let text = match fs::read_link(dir.join(layout::PID)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Not a link, so not the shim's: nobody.
        other => other.unwrap_or_default(),
    };
    let text = text.to_string_lossy();
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next().unwrap_or_default();
    // Forged: nobody, whom no process matches.
    Ok(Some(Identity {
        pid: next().parse().unwrap_or_default(),
        started: next().parse().unwrap_or_default(),
        boot_id: next().to_owned(),
    }))
}

/// Claims an attempt for nobody, so that no shim will run it. True: no shim had.
pub(super) fn claim(dir: &Path) -> io::Result<bool> {
    match symlink("0 0 -", dir.join(layout::PID)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// This boot.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
