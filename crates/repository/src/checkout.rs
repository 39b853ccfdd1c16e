//! Conflict resolution by a user: a clone with the merge checked out (`task resolve --checkout`), and the user's result
//! as a bundle (`task resolve --from`). Both run in the user's own process, on the user's own directory.
//! Deliberately absent: committing for the user, and trust: the bundle passes the quarantine like every result.

use std::{fs, path::Path};

use devstack_dag::ids::CommitId;
use git2::{RepositoryState, StatusOptions};

use super::{
    Error,
    bundle::{RESULT_REF, write_bundle},
    git::{Git, Run, TRANSFER_DEADLINE},
    history::is_ancestor,
    source::{head_commit, open_local},
};

/// The blocked commit's name in the clone.
const THEIRS: &str = "refs/devstack/theirs";

/// Why a conflict cannot be checked out, or a directory cannot be taken as a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutError {
    /// The directory already has content.
    #[error("{0} exists and is not empty; choose a new directory")]
    NotEmpty(String),
    /// The merge is not finished.
    #[error("the merge in {0} is not finished; resolve the files, `git add` them and `git commit`")]
    Unfinished(String),
    /// There are uncommitted changes.
    #[error("uncommitted changes in {dir} (files: {files}); `git add` and `git commit` them, or `git stash`")]
    Uncommitted {
        /// The directory.
        dir: String,
        /// Number of changed files.
        files: usize,
    },
    /// The result must contain both sides.
    #[error("the commit checked out in {dir} does not contain {missing}; merge it there: `git merge {missing}`")]
    NotContained {
        /// The directory.
        dir: String,
        /// The missing side.
        missing: CommitId,
    },
}

/// Make a clone of the hub at `dir` on `branch`, at `base`. With `theirs`, a merge of that commit is in progress:
/// `MERGE_HEAD` is set and the files contain the markers. Returns `true` if files conflict; `false` if there is no
/// merge, or a clean one that waits to be committed.
pub fn checkout_by_hand(
    git: &Git,
    hub: &Path,
    dir: &Path,
    base: CommitId,
    theirs: Option<CommitId>,
    branch: &str,
) -> Result<bool, Error> {
    if dir.exists() && fs::read_dir(dir).map_err(Error::io("list", dir))?.next().is_some() {
        return Err(CheckoutError::NotEmpty(dir.display().to_string()).into());
    }
    let clone =
        git.run("clone").deadline(TRANSFER_DEADLINE).args(["--quiet", "--no-checkout", "--no-local", "--no-tags"]);
    clone.args(["--origin", "devstack", "--"]).args([hub, dir]).ok()?;
    let checkout = ["--quiet", "--no-track", "-B", branch, &base.to_string()];
    let Some(theirs) = theirs else {
        inside(git, "checkout", dir).args(checkout).ok()?;
        return Ok(false);
    };
    let bundle = dir.join(".git").join("devstack-theirs.bundle");
    write_bundle(git.run("pack-objects").git_dir(hub), &[(theirs, RESULT_REF)], &[base], &bundle)?;
    let fetch = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--"];
    inside(git, "fetch", dir).args(fetch).args([&bundle]).args([format!("{RESULT_REF}:{THEIRS}")]).ok()?;
    fs::remove_file(&bundle).map_err(Error::io("remove", &bundle))?;
    inside(git, "checkout", dir).args(checkout).ok()?;
    let merge = inside(git, "merge", dir).args(["--quiet", "--no-commit", "--no-ff", THEIRS]).output()?;
    match merge.code {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(merge.failed("merge")),
    }
}

/// A run in the user's directory; reflogs need an identity, commits are left to the user.
fn inside(git: &Git, subcommand: &str, dir: &Path) -> Run {
    let run = git.run(subcommand).directory(dir).git_dir(&dir.join(".git")).deadline(TRANSFER_DEADLINE);
    ["AUTHOR", "COMMITTER"].iter().fold(run, |run, who| {
        run.env(&format!("GIT_{who}_NAME"), "devstack").env(&format!("GIT_{who}_EMAIL"), "devops@devstack.invalid")
    })
}

/// Write the commit checked out in a user's directory as a bundle for [`super::Hub::import_result`]; returns the
/// commit. It must contain `base` and every commit of `must_contain`.
pub fn bundle_from_dir(
    git: &Git,
    dir: &Path,
    base: CommitId,
    must_contain: &[CommitId],
    bundle: &Path,
) -> Result<CommitId, Error> {
    let shown = || dir.display().to_string();
    let repo = open_local(&shown())?;
    let unfinished = repo.state() != RepositoryState::Clean || repo.index()?.has_conflicts();
    if unfinished {
        return Err(CheckoutError::Unfinished(shown()).into());
    }
    let statuses = repo.statuses(Some(StatusOptions::new().include_untracked(false).exclude_submodules(true)))?;
    if !statuses.is_empty() {
        return Err(CheckoutError::Uncommitted { dir: shown(), files: statuses.len() }.into());
    }
    let tip = head_commit(&repo).ok_or_else(|| super::source::SourceError::Empty(shown()))?;
    for needed in std::iter::once(&base).chain(must_contain) {
        let has = repo.find_commit(super::oid(*needed)).is_ok() && is_ancestor(&repo, *needed, tip)?;
        if !has {
            return Err(CheckoutError::NotContained { dir: shown(), missing: *needed }.into());
        }
    }
    let mut known = vec![base];
    known.extend(must_contain);
    write_bundle(git.run("pack-objects").git_dir(repo.path()), &[(tip, RESULT_REF)], &known, bundle)?;
    Ok(tip)
}
