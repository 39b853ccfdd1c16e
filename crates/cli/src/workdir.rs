//! `.devstack`: the state directory beside a plan. Commands search for it upwards; it is private and excluded from git.
//! Deliberately absent: the content (the node's concern), and running git: we only add one line to a file.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The directory's name.
pub(super) const NAME: &str = ".devstack";

/// Agents run as another user and must traverse the directory to reach their own directories; private entries are 0700.
const MODE: u32 = 0o711;
/// The line in `.git/info/exclude`.
const EXCLUDED: &str = ".devstack/";

/// A state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workdir(PathBuf);

impl Workdir {
    /// The nearest state directory of this user, from `start` upwards. Directories of other users are skipped, as git
    /// skips their repositories: a user who can write to `/tmp` must not choose the node for commands below it.
    pub fn find(start: &Path) -> Option<Self> {
        start.ancestors().map(|dir| dir.join(NAME)).find(|dir| is_ours(dir)).map(Self)
    }

    /// The state directory in `dir`. Creates it if missing, with mode 0711, and excludes it from the surrounding git
    /// repository.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        match fs::DirBuilder::new().mode(MODE).create(&path) {
            Ok(()) => exclude(dir)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        // Set the mode independently of the umask.
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE))?;
        Ok(Self(path))
    }

    /// A state directory at an explicit path.
    ///
    /// # Errors
    /// The directory does not exist.
    pub fn at(path: &Path) -> io::Result<Self> {
        path.canonicalize().map(Self)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The socket of its node.
    pub fn socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }
}

fn is_ours(dir: &Path) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
}

/// Adds our line to the exclude file of the repository around `dir`, if there is a repository and the line is missing.
fn exclude(dir: &Path) -> io::Result<()> {
    let Some(git) = dir.ancestors().find_map(git_dir) else { return Ok(()) };
    let info = git.join("info");
    fs::create_dir_all(&info)?;
    let file = info.join("exclude");
    let text = fs::read_to_string(&file).unwrap_or_default();
    if text.lines().any(|line| line.trim() == EXCLUDED) {
        return Ok(());
    }
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    fs::OpenOptions::new().create(true).append(true).open(file)?.write_all(format!("{newline}{EXCLUDED}\n").as_bytes())
}

/// The git directory of the work tree at `dir`: `.git` itself, or the main repository of a linked worktree.
fn git_dir(dir: &Path) -> Option<PathBuf> {
    let git = dir.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let text = fs::read_to_string(&git).ok()?;
    let own = dir.join(text.strip_prefix("gitdir:")?.trim());
    match fs::read_to_string(own.join("commondir")) {
        Ok(common) => Some(own.join(common.trim())),
        Err(_) => Some(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_from_below_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(Workdir::find(&below), None);
        let made = Workdir::create(dir.path()).unwrap();
        assert_eq!(Workdir::find(&below).as_ref(), Some(&made));
        assert_eq!(fs::metadata(made.path()).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn another_users_is_passed_by() {
        let dir = tempfile::tempdir().unwrap();
        let made = Workdir::create(dir.path()).unwrap();
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("SKIPPED: another user's .devstack: only root can give one away");
        }
        std::os::unix::fs::chown(made.path(), Some(10_001), None).unwrap();
        assert_eq!(Workdir::find(dir.path()), None);
    }

    #[test]
    fn it_is_excluded_from_git_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".git/info")).unwrap();
        fs::create_dir_all(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join(".git/info/exclude"), "*.log").unwrap();
        Workdir::create(dir.path()).unwrap();
        Workdir::create(&dir.path().join("sub")).unwrap();
        let text = fs::read_to_string(dir.path().join(".git/info/exclude")).unwrap();
        assert_eq!(text, "*.log\n.devstack/\n");
    }

    #[test]
    fn a_worktree_excludes_in_its_repository() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("repo/.git/worktrees/w");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("commondir"), "../..\n").unwrap();
        let tree = dir.path().join("w");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
        Workdir::create(&tree).unwrap();
        let text = fs::read_to_string(dir.path().join("repo/.git/info/exclude")).unwrap();
        assert_eq!(text, ".devstack/\n");
    }
}
