//! Measures the disk use of an attempt while its agent runs. Walking a large tree is expensive. It is walked when the
//! file system lost so much free space that the limit may be near, and from time to time in case other processes freed
//! space meanwhile.
//!
//! Deliberately absent: the size of one file, which RLIMIT_FSIZE limits.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use devstack_shim::{layout, spec::Spec};
use nix::{errno::Errno, sys::statvfs::statvfs};

/// The interval between two checks of the free space, in milliseconds.
const LOOK_MS: u64 = 2_000;
/// The longest interval between two walks, in milliseconds.
const WALK_MS: u64 = 60_000;
/// The minimum size of an entry, in bytes: an inode and its directory entry cost about as much as a small block.
const ENTRY: u64 = 4096;

/// Watches the disk use of one attempt.
pub(crate) struct Disk {
    limit: u64,
    roots: Vec<PathBuf>,
    /// The time of the next check, on the shim's clock; never, without a limit.
    pub(crate) next_look: u64,
    next_walk: u64,
    used: u64,
    free: u64,
}

impl Disk {
    /// Starts with the current size of the workspace.
    pub(crate) fn new(spec: &Spec, now: u64) -> Self {
        let Some(limit) = spec.disk_max else {
            return Self {
                limit: u64::MAX,
                roots: Vec::new(),
                next_look: u64::MAX,
                next_walk: u64::MAX,
                used: 0,
                free: 0,
            };
        };
        let roots = vec![spec.workspace.clone(), spec.dir.join(layout::OUT), spec.dir.join(layout::SHIM)];
        Self { limit, roots, next_look: now + LOOK_MS, next_walk: now, used: 0, free: u64::MAX }
    }

    /// Returns true if the attempt exceeds its limit.
    pub(crate) fn is_over(&mut self, now: u64) -> bool {
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK_MS;
        let free = self.roots.first().map_or(0, |root| free(root));
        let left = self.limit.saturating_sub(self.used);
        if now < self.next_walk && self.free.saturating_sub(free) < left / 2 {
            return false;
        }
        (self.next_walk, self.free) = (now + WALK_MS, free);
        self.used = 0;
        self.roots.iter().any(|root| walk(root, self.limit, &mut self.used))
    }
}

/// Free space, in bytes and in files.
fn free(path: &Path) -> u64 {
    // The unit's types differ between platforms.
    #[allow(clippy::unnecessary_cast, reason = "the types differ between C libraries")]
    statvfs(path).map_or(0, |disk| {
        let bytes = disk.blocks_available() as u64 * disk.fragment_size() as u64;
        // Empty files take no block, but each takes an inode.
        bytes.saturating_add((disk.files_available() as u64).saturating_mul(ENTRY))
    })
}

/// Adds up the size of a tree. Returns true if it is larger than `limit`, or deeper than a path can reach, which no
/// honest tree is.
fn walk(root: &Path, limit: u64, used: &mut u64) -> bool {
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        match list(&dir, &mut open, limit, used) {
            Err(error) if error.raw_os_error() == Some(Errno::ENAMETOOLONG as i32) => return true,
            // The entry vanished meanwhile, or belongs to another user: then its content does too.
            Err(_) | Ok(()) => {}
        }
        if *used > limit {
            return true;
        }
    }
    false
}

fn list(dir: &Path, open: &mut Vec<PathBuf>, limit: u64, used: &mut u64) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            // A directory of the agent without permissions: it belongs to the same user, so its mode can be changed.
            fs::set_permissions(dir, Permissions::from_mode(0o700))?;
            fs::read_dir(dir)?
        }
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        *used += (metadata.blocks() * 512).max(ENTRY);
        if metadata.is_dir() {
            open.push(entry.path());
        }
        if *used > limit {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn used(root: &Path, limit: u64) -> (bool, u64) {
        let mut used = 0;
        (walk(root, limit, &mut used), used)
    }

    #[test]
    fn a_tree_is_added_up_with_what_it_hides() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/closed")).unwrap();
        fs::write(dir.path().join("a/closed/big"), vec![1; 100 << 10]).unwrap();
        fs::set_permissions(dir.path().join("a/closed"), Permissions::from_mode(0o0)).unwrap();
        let (over, sum) = used(dir.path(), 1 << 20);
        assert!(!over && sum >= 100 << 10, "{sum}");
        assert!(used(dir.path(), 64 << 10).0);
    }

    #[test]
    fn many_empty_files_count_and_a_link_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..64 {
            fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        assert_eq!(used(dir.path(), 1 << 20), (false, 65 * ENTRY));
    }
}
