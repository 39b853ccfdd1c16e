//! Which process runs an attempt: pid, start time and boot, as the shim wrote them when it claimed the attempt. All
//! three must match, so a pid that was given to somebody else since is never waited for or signalled.

use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::symlink},
    },
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

    /// Is it a shim of the attempt in `dir`, or what that became? The agent may be able to write the record, where both are one
    /// user, and could name anybody there. What a process was started with is nobody's to forge but its own.
    pub(super) fn serves(&self, dir: &Path) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        serves(&line, &dir.join(layout::SPEC))
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

/// `…/devstack-shim run …/spec.json`, or a sandbox that ends so, as `/proc/<pid>/cmdline` has it.
fn serves(line: &[u8], spec: &Path) -> bool {
    const MODES: [&[u8]; 4] = [b"run", b"inside", b"harvest", b"harvest-inside"];
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    let mut words = line.rsplit(|&byte| byte == 0);
    let (Some(path), Some(mode)) = (words.next(), words.next()) else { return false };
    let path = Path::new(OsStr::from_bytes(path));
    let same =
        |one: &Path, other: &Path| one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|o| o == one));
    MODES.contains(&mode) && words.next().is_some() && (path == spec || same(path, spec))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_command_line_of_the_attempt_serves_it() {
        let spec = Path::new("/s/attempts/p.t.1/spec.json");
        for line in [
            "/b/devstack-shim\0run\0/s/attempts/p.t.1/spec.json\0",
            "bwrap\0--\0/b/s\0inside\0/s/attempts/p.t.1/spec.json",
        ] {
            assert!(serves(line.as_bytes(), spec), "{line}");
        }
        for line in [
            "",
            "/s/attempts/p.t.1/spec.json\0",
            "vim\0/s/attempts/p.t.1/spec.json\0",
            "run\0/s/attempts/p.t.1/spec.json\0",
            "/b/devstack-shim\0run\0/s/attempts/p.t.2/spec.json\0",
            "/b/devstack-shim\0run\0/s/attempts/p.t.1/spec.json\0more\0",
        ] {
            assert!(!serves(line.as_bytes(), spec), "{line}");
        }
    }
}
