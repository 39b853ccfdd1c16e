//! A conflict for a person: a clone with the merge laid out (`task resolve --checkout`), and their result as a bundle
//! (`task resolve --from`). Both run in the person's own process, on the person's own directory.
//! Deliberately absent: committing for them, and trust: the bundle goes through the quarantine like every result.

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

/// Why a conflict cannot be laid out, or a directory not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckoutError {
    /// Something is there already.
    #[error("{0} exists and is not empty; name a new directory")]
    NotEmpty(String),
    /// The merge is not finished.
    #[error("the merge in {0} is not finished; resolve the files, `git add` them and `git commit`")]
    Unfinished(String),
    /// Changes that are in no commit.
    #[error("{files} changed files in {dir} are not committed; `git add` and `git commit` them, or `git stash`")]
    Uncommitted {
        /// Where.
        dir: String,
        /// How many.
        files: usize,
    },
    /// Both sides must be in the result.
    #[error("the commit checked out in {dir} does not contain {missing}; merge it there: `git merge {missing}`")]
    NotContained {
        /// Where.
        dir: String,
        /// The side that is missing.
        missing: CommitId,
    },
}

/// Make a clone of the hub at `dir` on `branch`, at `base`; with `theirs`, that is being merged into it: `MERGE_HEAD` is set
/// and the files hold the markers. Returns `true` if files conflict; `false` if there is no merge, or a clean one that waits
/// to be committed.
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

/// A run in the person's directory; reflogs need some identity, commits are left to them.
fn inside(git: &Git, subcommand: &str, dir: &Path) -> Run {
    let run = git.run(subcommand).directory(dir).git_dir(&dir.join(".git")).deadline(TRANSFER_DEADLINE);
    ["AUTHOR", "COMMITTER"].iter().fold(run, |run, who| {
        run.env(&format!("GIT_{who}_NAME"), "devstack").env(&format!("GIT_{who}_EMAIL"), "devops@devstack.invalid")
    })
}

/// Write the commit checked out in a person's directory as a bundle for [`super::Hub::import_result`]; returns the commit.
/// It must contain `base` and every commit of `must_contain`.
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
