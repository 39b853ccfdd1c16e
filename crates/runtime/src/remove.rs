//! Deletes the directory of an attempt, whatever the agent put there: directories without permissions, or trees deeper
//! than the system allows a path to be.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use devstack_shim::layout;

/// Deletes `dir`.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    if plain(dir).is_ok() {
        return Ok(());
    }
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => flatten(dir),
    }
}

/// Deletes what every attempt has, by name: an attempt without a repository mostly has nothing else, and this takes
/// half as many calls as listing. An error means that there is more, but not what.
fn plain(dir: &Path) -> io::Result<()> {
    for file in [layout::PROMPT, layout::TASK, layout::SPEC, layout::PID, layout::LOG, layout::EXIT] {
        fs::remove_file(dir.join(file))?;
    }
    for inner in [layout::IN, layout::SHIM, layout::OUT, layout::WORKSPACE, layout::HOME, layout::TMP] {
        fs::remove_dir(dir.join(inner))?;
    }
    fs::remove_dir(dir)
}

/// Deletes a tree that the plain way cannot delete. Every subdirectory is made accessible and moved to the top before
/// its parent is deleted, so no path and no recursion is deeper than two levels. Links are deleted, never followed: a
/// name is treated as a directory only if it is one, and no process of the attempt can swap it any more.
fn flatten(dir: &Path) -> io::Result<()> {
    let mut number = 0u64;
    let mut open = vec![dir.to_path_buf()];
    let mut empty = Vec::new();
    while let Some(next) = open.pop() {
        fs::set_permissions(&next, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            } else if next == dir {
                open.push(entry.path());
            } else {
                // Moving a directory writes its `..`, so it must be writable itself.
                fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
                let up = unused(dir, &mut number);
                fs::rename(entry.path(), &up)?;
                open.push(up);
            }
        }
        empty.push(next);
    }
    empty.iter().rev().try_for_each(fs::remove_dir)
}

fn unused(dir: &Path, number: &mut u64) -> PathBuf {
    loop {
        *number += 1;
        let path = dir.join(format!(".gone-{number}"));
        if path.symlink_metadata().is_err() {
            return path;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_and_closed_directories_go() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("p.t.1");
        fs::create_dir_all(dir.join("closed/inner")).unwrap();
        fs::write(dir.join("closed/inner/file"), "x").unwrap();
        // 3,000 levels, built from the inside out because no path reaches that deep.
        for _ in 0..3000 {
            fs::create_dir(dir.join("new")).unwrap();
            if dir.join("deep").exists() {
                fs::rename(dir.join("deep"), dir.join("new/deep")).unwrap();
            }
            fs::rename(dir.join("new"), dir.join("deep")).unwrap();
        }
        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, dir.join("closed/link")).unwrap();
        fs::set_permissions(dir.join("closed/inner"), Permissions::from_mode(0o0)).unwrap();
        flatten(&dir).unwrap();
        remove(&dir).unwrap();
        assert!(!dir.exists());
        assert!(outside.join("kept").exists());
    }
}
