//! The file system of the minimal image: one static busybox with a link for each of its commands. The busybox comes
//! from this machine, or from its distribution's package; no image registry is asked.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where distributions install it.
const PLACES: [&str; 4] = ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/usr/local/bin/busybox"];
/// Its package in Debian and Ubuntu.
const PACKAGE: &str = "busybox-static";
/// The user of agents, as in all our images.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\ndevstack:x:10001:10001:devstack:/home/devstack:/bin/sh\n";
const GROUP: &str = "root:x:0:\ndevstack:x:10001:\n";
/// Directories, with their modes. Some of them are mount points.
const DIRS: [(&str, u32); 8] = [
    ("bin", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/devstack", 0o755),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("devstack", 0o755),
    ("workspace", 0o755),
];

/// A tar archive with the whole file system, about 2 MB.
///
/// # Errors
/// No static busybox on this machine, and the package cannot be fetched; says what to install.
pub(super) fn file_system() -> io::Result<Vec<u8>> {
    match PLACES.into_iter().map(PathBuf::from).find(|path| is_static(path)) {
        Some(path) => archive(&path),
        None => {
            // A new directory with an unpredictable name, for this user only: the caller may be root, and what is
            // unpacked there becomes part of the image of all agents.
            let scratch = tempfile::Builder::new().prefix("devstack-busybox-").tempdir()?;
            fetch(scratch.path()).and_then(|path| archive(&path))
        }
    }
}

/// Unpacks the distribution's package below `scratch`; needs no privileges, only apt's lists.
fn fetch(scratch: &Path) -> io::Result<PathBuf> {
    let missing = |why: String| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("no static busybox on this machine ({why}); install it: apt install {PACKAGE}"),
        )
    };
    let run = |program: &str, args: &[&str]| -> io::Result<()> {
        let mut command = Command::new(program);
        let done = command.args(args).current_dir(scratch).stdin(Stdio::null()).output();
        match done {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(missing(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            Err(error) => Err(missing(format!("cannot run {program}: {error}"))),
        }
    };
    run("apt-get", &["download", "-q", PACKAGE])?;
    let package = fs::read_dir(scratch)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let package = package.into_iter().find(|name| name.ends_with(".deb"));
    run("dpkg-deb", &["-x", package.as_deref().unwrap_or_default(), "unpacked"])?;
    let unpacked = scratch.join("unpacked");
    let inside = |place: &str| unpacked.join(place.trim_start_matches('/'));
    let found = PLACES.iter().map(|place| inside(place)).find(|path| is_static(path));
    found.ok_or_else(|| missing("its package does not contain it".to_owned()))
}

fn archive(busybox: &Path) -> io::Result<Vec<u8>> {
    let program = fs::read(busybox)?;
    let listed = Command::new(busybox).arg("--list").stdin(Stdio::null()).output()?;
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, mode: u32, size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header
    };
    for (dir, mode) in DIRS {
        tar.append_data(&mut header(tar::EntryType::Directory, mode, 0), dir, io::empty())?;
    }
    for (path, mode, content) in [
        ("bin/busybox", 0o755, &program[..]),
        ("etc/passwd", 0o644, PASSWD.as_bytes()),
        ("etc/group", 0o644, GROUP.as_bytes()),
    ] {
        tar.append_data(&mut header(tar::EntryType::Regular, mode, content.len() as u64), path, content)?;
    }
    for applet in String::from_utf8_lossy(&listed.stdout).split_ascii_whitespace().filter(|name| *name != "busybox") {
        tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), format!("bin/{applet}"), "/bin/busybox")?;
    }
    tar.into_inner()
}

/// Whether it is a 64-bit ELF program that needs no interpreter.
fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|program| needs_interpreter(&program) == Some(false))
}

/// `None` if it is not such a program.
fn needs_interpreter(program: &[u8]) -> Option<bool> {
    /// The type of the header that names an interpreter.
    const INTERPRETER: u32 = 3;
    let number = |at: usize| Some(u16::from_le_bytes(program.get(at..at + 2)?.try_into().ok()?) as usize);
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let start = usize::try_from(u64::from_le_bytes(program.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (number(54)?, number(56)?);
    for index in 0..count {
        let at = start.checked_add(index.checked_mul(size)?)?;
        if u32::from_le_bytes(program.get(at..at.checked_add(4)?)?.try_into().ok()?) == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_is_told_from_others() {
        assert_eq!(needs_interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(needs_interpreter(&fs::read("/proc/self/exe").unwrap()), Some(true));
        assert_eq!(needs_interpreter(crate::shim::BINARY), Some(false));
    }
}
