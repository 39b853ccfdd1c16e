//! Opens a repository that its agent closed by modes (`chmod 000 .git`): the files belong to the user of this process,
//! so a mode does not make committed work unreachable. Links are not followed. All processes of the agent have ended.
//!
//! Deliberately absent: the files of the workspace, whose modes are part of the work.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The number of entries that are checked. A repository with packed refs and objects has some hundreds.
const ENTRIES_MAX: usize = 200_000;
/// The modes without which an owner cannot use a directory, and a file.
const DIRECTORY: u32 = 0o700;
const FILE: u32 = 0o400;

/// Opens the workspace itself and everything below its `.git`. Returns whether anything was closed.
pub(crate) fn open_up(workspace: &Path) -> bool {
    let mut opened = open(workspace).is_some_and(|(_, opened)| opened);
    let mut directories = vec![workspace.join(".git")];
    let mut left = ENTRIES_MAX;
    while let Some(path) = directories.pop() {
        let Some((is_directory, was_closed)) = open(&path) else { continue };
        opened |= was_closed;
        if is_directory {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
            let entries: Vec<PathBuf> = entries.take(left).collect();
            left -= entries.len();
            directories.extend(entries);
        }
    }
    opened
}

/// Opens one entry: whether it is a directory, and whether it was closed. `None`: neither a directory nor a file.
fn open(path: &Path) -> Option<(bool, bool)> {
    let found = fs::symlink_metadata(path).ok()?;
    let needed = match (found.is_dir(), found.is_file()) {
        (true, _) => DIRECTORY,
        (_, true) => FILE,
        _ => return None,
    };
    let mode = found.permissions().mode();
    let is_closed = mode & needed != needed;
    let opened = is_closed && fs::set_permissions(path, Permissions::from_mode(mode | needed)).is_ok();
    Some((found.is_dir(), opened))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_entries_are_opened_and_others_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("workspace");
        let at = |name: &str| workspace.join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        fs::create_dir_all(at(".git/objects/aa")).unwrap();
        fs::write(at(".git/HEAD"), "").unwrap();
        fs::write(at("work"), "").unwrap();
        std::os::unix::fs::symlink(at("work"), at(".git/link")).unwrap();
        assert!(!open_up(&workspace), "nothing is closed");
        for name in ["work", ".git/HEAD", ".git/objects/aa", ".git/objects", ".git"] {
            fs::set_permissions(at(name), Permissions::from_mode(0)).unwrap();
        }
        assert!(open_up(&workspace));
        assert_eq!([mode(".git"), mode(".git/objects"), mode(".git/objects/aa")], [0o700; 3]);
        assert_eq!((mode(".git/HEAD"), mode("work")), (0o400, 0), "a file of the workspace keeps its mode");
    }
}
