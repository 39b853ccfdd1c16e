//! A user's new repository with a first commit, and its history drawn as a graph: for `quickstart`.
//! Deliberately absent: anything of a hub. Both run in the user's own process, on the user's own directory.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use git2::{IndexAddOption, Repository, RepositoryInitOptions, Signature};

use super::{Error, git::Git};

/// The longest graph shown, in commits.
const GRAPH_MAX: usize = 40;

/// A file of the first commit.
pub struct StarterFile {
    /// Its path in the repository.
    pub path: &'static str,
    /// Its content.
    pub content: &'static str,
}

/// Make a repository in an empty or new directory, on branch `main`, with these files as its first commit.
pub fn create(dir: &Path, files: &[StarterFile], message: &str) -> Result<(), Error> {
    let mut how = RepositoryInitOptions::new();
    how.initial_head("main").external_template(false);
    let repo = Repository::init_opts(dir, &how)?;
    // Left by a process that was killed here earlier.
    let _ = fs::remove_file(repo.path().join("index.lock"));
    for file in files {
        let path = dir.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        fs::write(&path, file.content).map_err(Error::io("write", &path))?;
        let mode = if file.path.ends_with(".sh") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(Error::io("set the mode of", &path))?;
    }
    let mut index = repo.index()?;
    index.add_all(["."], IndexAddOption::DEFAULT, None)?;
    index.write()?;
    let tree = repo.find_tree(index.write_tree()?)?;
    // The user's own name, if git knows it.
    let person = repo.signature().or_else(|_| Signature::now("devstack quickstart", "quickstart@devstack.invalid"))?;
    repo.commit(Some("HEAD"), &person, &person, message, &tree, &[])?;
    Ok(())
}

/// The history of a branch, as `git log --graph` draws it.
pub fn graph(git: &Git, dir: &Path, branch: &str, color: bool) -> Result<String, Error> {
    let color = if color { "--color=always" } else { "--color=never" };
    let limit = format!("--max-count={GRAPH_MAX}");
    let run = git.run("log").directory(dir).git_dir(&dir.join(".git"));
    let output = run.args(["--graph", "--oneline", "--decorate", color, limit.as_str(), branch, "--"]).ok()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether there is a repository with a commit. A process that was killed in [`create`] leaves a repository without
/// one.
pub fn has_commit(dir: &Path) -> bool {
    Repository::open(dir).is_ok_and(|repo| repo.head().is_ok())
}
