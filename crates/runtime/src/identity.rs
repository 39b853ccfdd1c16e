//! The identity of the process that runs an attempt: pid, start time and boot, as the shim wrote them when it claimed
//! the attempt. All three must match, so a pid that was reused is never waited for or signalled.

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

/// A process in one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: i32,
    started: u64,
    boot_id: String,
}

impl Identity {
    /// Whether it still runs.
    pub(super) fn is_alive(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id
            && procs::get(self.pid).is_some_and(|process| process.is_alive() && process.started == self.started)
    }

    /// Whether it is a shim of the attempt in `dir`, or what that shim became. Where both are one user, the agent may
    /// be able to write the record and could name any process in it. A process's command line, however, can only be
    /// changed by the process itself.
    pub(super) fn serves(&self, dir: &Path) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        serves(&line, &dir.join(layout::SPEC))
    }

    /// Whether it was written in this boot.
    pub(super) fn is_of(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id
    }

    /// A descriptor that refers to exactly this process; `None` if it ended. The process is checked only after the
    /// descriptor was opened, so the pid cannot be reused in between.
    pub(super) fn open(&self, boot_id: &str) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(self.is_alive(boot_id).then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Matches `…/devstack-shim run …/spec.json`, or a sandbox whose arguments end so, as in `/proc/<pid>/cmdline`.
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

/// The identity in an attempt's directory; `None` if no shim claimed it yet.
pub(super) fn read(dir: &Path) -> io::Result<Option<Identity>> {
    let text = match fs::read_link(dir.join(layout::PID)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Not a link, so not written by the shim: no process.
        other => other.unwrap_or_default(),
    };
    let text = text.to_string_lossy();
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next().unwrap_or_default();
    // Forged: an identity that no process matches.
    Ok(Some(Identity {
        pid: next().parse().unwrap_or_default(),
        started: next().parse().unwrap_or_default(),
        boot_id: next().to_owned(),
    }))
}

/// Claims an attempt for nobody, so that no shim will run it. Returns true if no shim had claimed it.
pub(super) fn claim(dir: &Path) -> io::Result<bool> {
    match symlink("0 0 -", dir.join(layout::PID)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The id of this boot.
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
