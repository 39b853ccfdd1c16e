//! Checks whether agents can traverse to a directory, because agents run as another user than a node that is root.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use devstack_shim::spec::User;
use nix::{
    sys::prctl,
    unistd::{Gid, Uid, setfsgid, setfsuid},
};

/// The first directory on the path to `dir`, including `dir`, that this user may not traverse; `None` if all are
/// traversable. Only root can check. The kernel is asked as that user, because modes alone are not enough (access
/// lists, mounts).
pub fn barrier(dir: &Path, user: User) -> io::Result<Option<PathBuf>> {
    let dir = dir.canonicalize()?;
    let private = !prctl::get_dumpable()?;
    let look = move || {
        // Only for this thread, which ends with the answer.
        setfsgid(Gid::from_raw(user.gid));
        setfsuid(Uid::from_raw(user.uid));
        let mut way: Vec<&Path> = dir.ancestors().collect();
        way.reverse();
        way.into_iter().find(|place| fs::metadata(place.join(".")).is_err()).map(Path::to_owned)
    };
    let found = thread::spawn(look).join().map_err(|_| io::Error::other("the thread that checked the path panicked"));
    if private {
        // The change of user reset it, for the whole process.
        prctl::set_dumpable(false)?;
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_closed_directory_on_the_way_is_named() {
        if !nix::unistd::geteuid().is_root() {
            println!("SKIPPED: whether agents may pass: only root has agents of another user");
            return;
        }
        let (user, dir) = (User { uid: 10_001, gid: 10_001 }, tempfile::tempdir().unwrap());
        let inner = dir.path().join("closed/inner");
        fs::create_dir_all(&inner).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(dir.path(), 0o711);
        mode(&dir.path().join("closed"), 0o700);
        let found = barrier(&inner, user).unwrap();
        assert_eq!(found, Some(dir.path().join("closed").canonicalize().unwrap()));
        mode(&dir.path().join("closed"), 0o711);
        assert_eq!(barrier(&inner, user).unwrap(), None);
        // The caller's own thread keeps its privileges.
        mode(&inner, 0o000);
        assert!(fs::read_dir(&inner).is_ok());
    }
}
