//! The owner of the files: root sets up a machine, and the node runs as the user who owns its state directory.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use super::DIR;

/// Gives the files that root has just written into `<state_dir>/cluster` to the owner of the state directory. For other
/// users nothing changes, because they own what they write.
///
/// # Errors
/// Errors of the file system.
pub fn hand_over(state_dir: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(state_dir)?;
    let dir = state_dir.join(DIR);
    let files = fs::read_dir(&dir)?.map(|entry| entry.map(|entry| entry.path()));
    for path in files.chain([Ok(dir.clone())]) {
        chown(path?, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_state_directory_owns_what_is_in_it() {
        let state = tempfile::tempdir().unwrap();
        fs::create_dir(state.path().join(DIR)).unwrap();
        fs::write(state.path().join(DIR).join("a"), "").unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(state.path(), Some(10_001), Some(10_002)).unwrap();
        }
        hand_over(state.path()).unwrap();
        let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
        for path in [DIR, "cluster/a"] {
            assert_eq!(owner(&state.path().join(path)), owner(state.path()));
        }
    }
}
