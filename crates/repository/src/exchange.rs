//! The user's side of a project whose Taskmaster is on another machine: a bundle of the commits that the inbox there
//! lacks, and the integration branch that comes back. Runs in the user's own process.
//!
//! The integration branch is always stored at `refs/remotes/devstack/<integration>`, so that a branch that cannot be
//! moved can be merged by that name. Deliberately absent: the transport between the machines.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use devstack_dag::ids::CommitId;

use super::{
    Error,
    bundle::write_bundle,
    bundle_header::read_header,
    deliver::{bring, swap},
    git::Git,
    history::is_ancestor,
    hub::read_ref,
    oid,
    source::{Branches, Place, Source, open_local},
};

/// A local source that is exchanged with an inbox.
#[derive(Debug, Clone)]
pub struct Exchange {
    git: Git,
    dir: PathBuf,
    source: Source,
    integration: String,
}

/// The result of taking back the integration branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// The user's branch already contains everything.
    Nothing,
    /// The branch was created or moved forward.
    Moved {
        /// Number of new commits.
        commits: usize,
        /// Its commit.
        head: CommitId,
    },
    /// The branch is checked out in this worktree, and was not moved.
    CheckedOut {
        /// The worktree.
        place: String,
        /// Number of waiting commits.
        commits: usize,
    },
    /// The user has their own commits on the branch: it was not moved.
    Diverged,
}

impl Exchange {
    /// Returns `None` if the source is behind a URL: the Taskmaster then fetches from there.
    pub fn of(source: Source, git: Git, integration: &str) -> Option<Self> {
        let Place::Local(dir) = source.place() else { return None };
        Some(Self { git, dir: dir.clone(), integration: integration.to_owned(), source })
    }

    /// The git directory: bundles in transfer may be stored there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name with which a user merges what came back: `devstack/dev`.
    pub fn tracking(&self) -> String {
        format!("devstack/{}", self.integration)
    }

    /// The integration branch.
    pub fn integration(&self) -> &str {
        &self.integration
    }

    /// The base and integration branches, with the same refusals as [`Source::branches`], whatever is checked out.
    pub fn branches(&self, base: Option<&str>) -> Result<Branches, Error> {
        self.source.tips(&self.git, base, &self.integration)
    }

    /// Commits whose history the other side need not send: the integration branch, what came back earlier, the base.
    pub fn have(&self, branches: &Branches) -> Result<Vec<CommitId>, Error> {
        let tracked = read_ref(&self.open()?, &self.tracking_ref())?;
        let mut have: Vec<CommitId> =
            [tracked, branches.integration_tip, Some(branches.base_tip)].into_iter().flatten().collect();
        have.dedup();
        Ok(have)
    }

    /// Write a bundle of both branches without what the commits `there` contain. Commits that are unknown here are
    /// ignored.
    pub fn write(&self, branches: &Branches, there: &[CommitId], path: &Path) -> Result<(), Error> {
        let repo = self.open()?;
        let mut known: Vec<CommitId> =
            there.iter().copied().filter(|commit| repo.find_commit(oid(*commit)).is_ok()).collect();
        known.sort_unstable();
        known.dedup();
        let (base, integration) = (format!("refs/heads/{}", branches.base), self.integration_ref());
        let mut refs = vec![(branches.base_tip, base.as_str())];
        if let Some(tip) = branches.integration_tip.filter(|_| base != integration) {
            refs.push((tip, &integration));
        }
        write_bundle(self.git.run("pack-objects").git_dir(&self.dir), &refs, &known, path)
    }

    /// Whether this commit exists here.
    pub fn contains(&self, commit: CommitId) -> Result<bool, Error> {
        Ok(self.open()?.find_commit(oid(commit)).is_ok())
    }

    /// Import a bundle of the integration branch; it comes from the Taskmaster, over an authenticated connection. The
    /// branch only moves forward, and never while it is checked out.
    pub fn take_back(&self, bundle: &Path) -> Result<Returned, Error> {
        let broken = |detail: String| Error::Git { command: "fetch".into(), detail };
        let header = read_header(File::open(bundle).map_err(Error::io("open", bundle))?).map_err(broken)?;
        let name = self.integration_ref();
        let [(tip, _)] = header.refs.iter().filter(|(_, found)| *found == name).collect::<Vec<_>>()[..] else {
            return Err(broken(format!("the bundle does not contain `{name}`")));
        };
        let tip = *tip;
        if !self.contains(tip)? {
            bring(&self.git, &self.dir, bundle, &name)?;
        }
        let repo = self.open()?;
        let tracking = self.tracking_ref();
        let tracked = read_ref(&repo, &tracking)?;
        if tracked != Some(tip) {
            self.swap(&tracking, tracked, tip)?;
        }
        let old = read_ref(&repo, &name)?;
        let start = match old {
            Some(old) if is_ancestor(&repo, tip, old)? => return Ok(Returned::Nothing),
            Some(old) if !is_ancestor(&repo, old, tip)? => return Ok(Returned::Diverged),
            Some(old) => Some(old),
            None => read_ref(&repo, "HEAD").unwrap_or_default(),
        };
        let commits = match start {
            Some(start) => repo.graph_ahead_behind(oid(tip), oid(start))?.0,
            None => 0,
        };
        if let Some(place) = self.source.checked_out(&self.integration)? {
            return Ok(Returned::CheckedOut { place, commits });
        }
        self.swap(&name, old, tip)?;
        Ok(Returned::Moved { commits, head: tip })
    }

    fn swap(&self, name: &str, old: Option<CommitId>, new: CommitId) -> Result<(), Error> {
        let moved = swap(&self.git, &self.dir, name, old, new)?;
        if moved.code == 0 { Ok(()) } else { Err(moved.failed("update-ref")) }
    }

    fn open(&self) -> Result<git2::Repository, Error> {
        open_local(&self.dir.to_string_lossy())
    }

    fn integration_ref(&self) -> String {
        format!("refs/heads/{}", self.integration)
    }

    fn tracking_ref(&self) -> String {
        format!("refs/remotes/{}", self.tracking())
    }
}
