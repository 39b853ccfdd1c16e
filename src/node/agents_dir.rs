//! Where everything is that agents read and write: in the state directory, unless they are another user (the node is
//! root) and may not pass through to it, as below `/root`; then in a directory of this installation elsewhere.
//! Deliberately absent: what is in it (the runtime's attempts, the host's mirrors).

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, umask};

use super::NodeError;
use crate::runtime::{ProcessConfig, RuntimeError, barrier};

/// Where the daemon has its state by default: a place for what belongs to the machine and outlives a session.
const ELSEWHERE: &str = "/var/lib/devstack";
/// Says in the state directory where they are, if elsewhere. The choice is made once: attempts that run are looked for there.
const LINK: &str = "agents";

/// The directory, made if need be; also sees to it that no umask keeps agents from what is made for them.
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
            "agents run as user {}, who may pass through neither to {} nor beyond {}; open one of them (`chmod o+x`), \
             or have the project elsewhere",
            process.user.uid,
            state_dir.display(),
            closed.display(),
        ))
        .into()),
    }
}

/// Of the process: what is made for agents must not be closed to them. What is private is made so by its mode.
pub(super) fn unmask() {
    let open = Mode::S_IWGRP | Mode::S_IWOTH;
    umask(umask(open) & open);
}

/// Attempts of a time when the way was free.
fn holds_attempts(state_dir: &Path) -> bool {
    fs::read_dir(state_dir.join("attempts")).is_ok_and(|mut entries| entries.next().is_some())
}

/// Others may pass through, whatever the umask, and list nothing.
fn make(dir: &Path) -> io::Result<()> {
    let is_new = !Path::new(ELSEWHERE).exists();
    fs::create_dir_all(dir)?;
    if is_new {
        fs::set_permissions(ELSEWHERE, Permissions::from_mode(0o711))?;
    }
    fs::set_permissions(dir, Permissions::from_mode(0o711))
}
