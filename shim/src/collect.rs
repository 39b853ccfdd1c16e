//! Reads the agent's repository and writes the agent's work as a bundle to standard output: first the commits, then the
//! uncommitted files, path by path, then other branches. The summary goes to standard error. libgit2 runs no hook, no
//! filter program and no fsmonitor, and this process has only what the agent also had, so a hostile repository gains
//! nothing here.
//!
//! Deliberately absent: judging the work. The node does, in quarantine.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
};

use devstack_shim::spec::{self, Git, GitStart, Harvested, Spec};
use git2::{Oid, Repository, RepositoryOpenFlags};

use crate::{
    branches::{Branch, Commits},
    bundle::{self, Content, Unwritten},
    closed, harvest,
    left::Left,
    leftovers::{self, Leftovers, Onto},
    trouble::Failure,
    worktree,
};

/// The scope of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// Only commits: the working directory and its index are not read.
    Commits,
}

/// The whole child process. Its answer is always one JSON object.
pub(crate) fn main(spec: &Spec, scope: Scope) {
    let harvested = match &spec.git {
        None => Harvested { error: Some("the attempt has no repository".into()), ..Harvested::default() },
        Some(git) => match harvest::limit().and_then(|()| Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))) {
            Ok(out) => collect(spec, git, scope, &out),
            Err(error) => failed(&error.to_string(), Left::default()),
        },
    };
    if let Ok(text) = serde_json::to_vec(&harvested) {
        let _ = io::stderr().write_all(&text);
    }
}

/// A failure of the machine.
fn failed(why: &str, left: Left) -> Harvested {
    let why = Some(why.to_owned());
    let mut harvested = Harvested { error: why.clone(), failed: why, ..Harvested::default() };
    left.add_to(&mut harvested);
    harvested
}

/// A result without a usable repository: not the same as a result without changes.
fn destroyed(failure: &Failure) -> Harvested {
    let mut left = Left::default();
    match failure {
        Failure::Machine(why) => failed(why, left),
        Failure::Other(why) => {
            left.skip(".git", why);
            let error = Some(format!("the repository of the workspace was destroyed: {why}"));
            let mut harvested = Harvested { error, ..Harvested::default() };
            left.add_to(&mut harvested);
            harvested
        }
    }
}

fn collect(spec: &Spec, git: &Git, scope: Scope, out: &File) -> Harvested {
    let harvested = match gather(spec, git, scope, out) {
        Err(Failure::Other(_)) if closed::open_up(&spec.workspace) => gather(spec, git, scope, out),
        first => first,
    };
    harvested.unwrap_or_else(|failure| destroyed(&failure))
}

/// Fails, before anything is written, if the repository cannot be used.
fn gather(spec: &Spec, git: &Git, scope: Scope, out: &File) -> Result<Harvested, Failure> {
    let mut left = Left::default();
    let repository = open(&spec.workspace)?;
    let commits = Commits::read(&repository, git, &mut left)?;
    let (mut error, mut machine) = (None, None);
    let mut leftover = None;
    if scope == Scope::All {
        match uncommitted(&repository, &commits, spec, git, &mut left) {
            Ok(Leftovers::None) => {}
            Ok(Leftovers::Commit(commit)) => leftover = Some(commit),
            Ok(Leftovers::Unresolved(path)) => {
                left.skip(&path, "the merge is not resolved: it still has a conflict");
                error = Some(format!("the merge is not resolved: {path} still has a conflict"));
            }
            Err(Failure::Other(why)) => {
                left.skip(".", &format!("uncommitted work cannot be taken: {why}"));
                error = Some(format!("uncommitted work cannot be taken: {why}"));
            }
            Err(Failure::Machine(why)) => {
                error = Some(format!("uncommitted work could not be taken: {why}"));
                machine = error.clone();
            }
        }
    }
    let mut known = vec![commits.base];
    if let GitStart::Merging { theirs, .. } = &git.start {
        known.extend(Oid::from_str(theirs));
    }
    let mut harvested = Harvested { error, failed: machine, ..Harvested::default() };
    write(&repository, &commits, leftover, git, &known, (out, &mut left, &mut harvested));
    left.add_to(&mut harvested);
    Ok(harvested)
}

/// Writes as much as fits: everything, else without other branches, else only the committed work.
fn write(
    repository: &Repository,
    commits: &Commits<'_>,
    leftover: Option<Oid>,
    git: &Git,
    known: &[Oid],
    (out, left, harvested): (&File, &mut Left, &mut Harvested),
) {
    let committed = commits.result();
    let result = leftover.or(committed);
    let beside = commits.beside(result, &git.branch, left);
    let mut tries: Vec<(Option<Oid>, &[Branch])> = vec![(result, &beside)];
    if !beside.is_empty() {
        tries.push((result, &[]));
    }
    if leftover.is_some() && committed.is_some() {
        tries.push((committed, &[]));
    }
    let before = harvested.error.clone();
    for (result, branches) in tries {
        if result.is_none() && branches.is_empty() {
            break;
        }
        // A bundle whose result is the base contains only branches.
        let tip = result.unwrap_or(commits.base);
        match bundle::write(repository, &Content { result: tip, branches, known }, git.bundle_max, out) {
            Ok(()) => {
                harvested.error = before;
                harvested.tip = Some(tip.to_string());
                harvested.branches = branches.iter().map(named).collect();
                if branches.len() < beside.len() {
                    beside.iter().for_each(|one| left.skip(&format!("refs/heads/{}", one.name), TOO_LARGE));
                }
                if result == committed && leftover.is_some() {
                    left.skip(".", TOO_LARGE);
                    let max = git.bundle_max;
                    harvested.error =
                        Some(format!("uncommitted work is larger than {max} bytes: only commits were taken"));
                }
                return;
            }
            Err(Unwritten::TooLarge) => {
                harvested.error = Some(format!("the result is larger than {} bytes", git.bundle_max));
            }
            Err(Unwritten::Failed(Failure::Machine(why))) => {
                let why = format!("the result cannot be written: {why}");
                (harvested.error, harvested.failed) = (Some(why.clone()), Some(why));
                return;
            }
            Err(Unwritten::Failed(Failure::Other(why))) => {
                left.skip(".git", &why);
                harvested.error = Some(format!("the repository of the workspace was destroyed: {why}"));
                return;
            }
        }
    }
    if harvested.error.is_some() && result.is_some() {
        left.skip(".", TOO_LARGE);
    }
}

/// Why something was left out of a bundle.
const TOO_LARGE: &str = "the result would exceed its size limit";

fn named(branch: &Branch) -> spec::Branch {
    spec::Branch { name: branch.name.clone(), commit: branch.tip.to_string() }
}

/// Commits the uncommitted work on top of HEAD. If HEAD points to no commit, the work is not lost.
fn uncommitted(
    repository: &Repository,
    commits: &Commits<'_>,
    spec: &Spec,
    git: &Git,
    left: &mut Left,
) -> Result<Leftovers, Failure> {
    let onto = commits.head.or(commits.given).unwrap_or(commits.base);
    let onto = Onto { repository, parent: repository.find_commit(onto)?, workspace: &spec.workspace };
    let leftovers = leftovers::commit(&onto, spec, git, left)?;
    if commits.head.is_none() {
        left.skip(
            ".git/HEAD",
            &format!("it does not point to a commit: work was taken on top of {}", onto.parent.id()),
        );
    }
    Ok(leftovers)
}

/// Opens the repository of a workspace. Everything that points elsewhere (a `gitdir:` file, a link, `commondir`) is
/// refused: where the agent has no separate user, the harvest could otherwise commit into a user's repository.
/// `core.worktree` is ignored: the working directory is the workspace.
fn open(workspace: &Path) -> Result<Repository, Failure> {
    let workspace = workspace.canonicalize()?;
    let git = workspace.join(".git");
    match fs::symlink_metadata(&git) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(Failure::Other("it was led elsewhere".into())),
        Err(error) => return Err(error.into()),
    }
    worktree::free_of_pipes(&git)?;
    let none: [&Path; 0] = [];
    let exactly = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE;
    let repository = Repository::open_ext(&git, exactly, none)?;
    let same = |path: &Path| path.canonicalize().is_ok_and(|path| path == git);
    if !same(repository.path()) || !same(repository.commondir()) {
        return Err(Failure::Other("it was led elsewhere".into()));
    }
    repository.set_workdir(&workspace, false)?;
    Ok(repository)
}
