//! Secrets of containers: a directory per attempt on a tmpfs, one file each, read-only in the container.
//!
//! Architecture invariants: a value is never written where the kernel could put it on disk (the file system is checked,
//! not its name); a removed attempt leaves no value; what a killed node left is removed with its attempt.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use devstack_dag::ids::AttemptId;
use devstack_shim::spec::User;
use nix::{
    sys::statfs::{TMPFS_MAGIC, statfs},
    unistd::{AccessFlags, access},
};

use devstack_config::secrets::Secret;

/// Directories on a tmpfs that a node may use, in this order. The first is for root, the last for everybody.
const CANDIDATES: [&str; 2] = ["/run", "/dev/shm"];

/// The tmpfs of one installation.
pub(super) struct Vault {
    root: PathBuf,
}

impl Vault {
    /// Finds a tmpfs. Removes nothing, because running attempts have their secrets there.
    ///
    /// # Errors
    /// This machine has no tmpfs; for users.
    pub(super) fn open(installation: &str) -> Result<Self, String> {
        let mut tried = Vec::new();
        for base in candidates() {
            let root = base.join(format!("devstack-{installation}"));
            match in_memory(&base).and_then(|yes| if yes { make(&root, 0o711) } else { Ok(()) }.map(|()| yes)) {
                Ok(true) => return Ok(Self { root }),
                Ok(false) => tried.push(format!("{} is not a tmpfs", base.display())),
                Err(error) => tried.push(format!("{}: {error}", base.display())),
            }
        }
        Err(format!("no tmpfs for secrets ({}); mount one at /run", tried.join("; ")))
    }

    /// Writes the secrets of an attempt; returns its directory.
    pub(super) fn put(
        &self,
        attempt: &AttemptId,
        secrets: &[(String, Secret)],
        owner: Option<User>,
    ) -> io::Result<PathBuf> {
        let dir = self.dir(attempt);
        self.take(attempt)?;
        make(&dir, 0o700)?;
        for (name, value) in secrets {
            let path = dir.join(name);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
            file.write_all(value.expose().as_bytes())?;
            if let Some(User { uid, gid }) = owner {
                chown(&path, Some(uid), Some(gid))?;
            }
        }
        if let Some(User { uid, gid }) = owner {
            chown(&dir, Some(uid), Some(gid))?;
        }
        Ok(dir)
    }

    /// Removes the secrets of an attempt.
    pub(super) fn take(&self, attempt: &AttemptId) -> io::Result<()> {
        gone(fs::remove_dir_all(self.dir(attempt)))
    }

    /// Removes the directory, when no attempt is left.
    pub(super) fn close(&self) {
        // Not empty: an attempt has its secrets here.
        let _ = fs::remove_dir(&self.root);
    }

    fn dir(&self, attempt: &AttemptId) -> PathBuf {
        // Names contain no dot.
        self.root.join(format!("{}.{}.{}", attempt.task.project, attempt.task.id, attempt.number))
    }
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    CANDIDATES.iter().map(PathBuf::from).chain(own)
}

/// The first tmpfs that this process may write to.
///
/// # Errors
/// There is none; for users.
pub(super) fn place() -> Result<PathBuf, String> {
    let fits = |dir: &PathBuf| in_memory(dir).unwrap_or(false) && access(dir, AccessFlags::W_OK).is_ok();
    candidates().find(fits).ok_or_else(|| "no tmpfs for secrets; mount one at /run".to_owned())
}

fn make(dir: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(dir)
}

fn in_memory(dir: &Path) -> io::Result<bool> {
    Ok(statfs(dir)?.filesystem_type() == TMPFS_MAGIC)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
