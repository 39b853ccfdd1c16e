//! Chooses the directory for all files that agents read and write. It is in the state directory, unless agents run as
//! another user (the node is root) and cannot traverse to it, as below `/root`; then it is another directory, specific
//! to this installation. Deliberately absent: its content (the runtime's attempts, the host's mirrors).

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, umask};

use super::NodeError;
use devstack_runtime::{ProcessConfig, RuntimeError, barrier};

/// The daemon's default state directory: a place for data that belongs to the machine and outlives a session.
const ELSEWHERE: &str = "/var/lib/devstack";
/// Records in the state directory where they are, if elsewhere. The choice is made once: running attempts are found
/// there.
const LINK: &str = "agents";

/// Finds or makes the directory; also clears the umask, so that agents can access what is made for them.
pub(super) fn find(process: &ProcessConfig) -> Result<PathBuf, NodeError> {
    let state_dir = &process.state_dir;
    if !nix::unistd::geteuid().is_root() {
        return Ok(state_dir.clone());
    }
    unmask();
    let cannot = |path: &Path| {
        let path = path.to_owned();
        |source| NodeError::StateDir { path, source }
    };
    let barrier = |dir: &Path| barrier(dir, process.user).map_err(cannot(dir));
    let link = state_dir.join(LINK);
    if !link.is_symlink() {
        let barred = barrier(state_dir)?;
        if barred.is_none() || holds_attempts(state_dir) {
            return Ok(state_dir.clone());
        }
        symlink(Path::new(ELSEWHERE).join(&process.installation), &link).map_err(cannot(&link))?;
    }
    let dir = fs::read_link(&link).map_err(cannot(&link))?;
    make(&dir).map_err(cannot(&dir))?;
    match barrier(&dir)? {
        None => Ok(dir),
        Some(closed) => Err(RuntimeError::Refused(format!(
            "agents run as user {}, who can traverse neither to {} nor beyond {}; open one of them (`chmod o+x`), \
             or have the project elsewhere",
            process.user.uid,
            state_dir.display(),
            closed.display(),
        ))
        .into()),
    }
}

/// For the whole process: agents must be able to access what is made for them. Private files get a private mode.
pub(super) fn unmask() {
    let open = Mode::S_IWGRP | Mode::S_IWOTH;
    umask(umask(open) & open);
}

/// Attempts from a time when agents could traverse the state directory.
fn holds_attempts(state_dir: &Path) -> bool {
    fs::read_dir(state_dir.join("attempts")).is_ok_and(|mut entries| entries.next().is_some())
}

/// Others may traverse it, whatever the umask, but not list it.
fn make(dir: &Path) -> io::Result<()> {
    let is_new = !Path::new(ELSEWHERE).exists();
    fs::create_dir_all(dir)?;
    if is_new {
        fs::set_permissions(ELSEWHERE, Permissions::from_mode(0o711))?;
    }
    fs::set_permissions(dir, Permissions::from_mode(0o711))
}
