//! A person's repository whose Taskmaster is on another machine: a bundle of what the inbox there lacks, and the integration
//! branch that comes back. Runs in the person's own process.
//!
//! What comes back is always at `refs/remotes/devstack/<integration>`, so that a branch that cannot be moved can be merged
//! by its name. Deliberately absent: the way between the machines.

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

/// A local source, on its way to an inbox and back.
#[derive(Debug, Clone)]
pub struct Exchange {
    git: Git,
    dir: PathBuf,
    source: Source,
    integration: String,
}

/// What became of the integration branch that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// The person's branch has all of it.
    Nothing,
    /// The branch was made or moved forward.
    Moved {
        /// So many commits came to it.
        commits: usize,
        /// Its commit.
        head: CommitId,
    },
    /// It is checked out in this worktree, and was left alone.
    CheckedOut {
        /// The worktree.
        place: String,
        /// So many commits wait.
        commits: usize,
    },
    /// The person has commits of their own on it: it was left alone.
    Diverged,
}

impl Exchange {
    /// `None`: the source is behind a URL, and whoever needs it fetches it from there.
    pub fn of(source: Source, git: Git, integration: &str) -> Option<Self> {
        let Place::Local(dir) = source.place() else { return None };
        Some(Self { git, dir: dir.clone(), integration: integration.to_owned(), source })
    }

    /// Its git directory: bundles on their way may lie there.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name by which a person merges what came back: `devstack/dev`.
    pub fn tracking(&self) -> String {
        format!("devstack/{}", self.integration)
    }

    /// The integration branch.
    pub fn integration(&self) -> &str {
        &self.integration
    }

    /// Its base and integration branches, refused as [`Source::branches`] does, whatever is checked out.
    pub fn branches(&self, base: Option<&str>) -> Result<Branches, Error> {
        self.source.tips(&self.git, base, &self.integration)
    }

    /// Commits whose history somebody else need not send: the integration branch, what came back before, the base.
    pub fn have(&self, branches: &Branches) -> Result<Vec<CommitId>, Error> {
        let tracked = read_ref(&self.open()?, &self.tracking_ref())?;
        let mut have: Vec<CommitId> =
            [tracked, branches.integration_tip, Some(branches.base_tip)].into_iter().flatten().collect();
        have.dedup();
        Ok(have)
    }

    /// Write a bundle of both branches without what the commits `there` contain. Those that are not known here do not help.
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

    /// Is this commit here?
    pub fn contains(&self, commit: CommitId) -> Result<bool, Error> {
        Ok(self.open()?.find_commit(oid(commit)).is_ok())
    }

    /// Take in a bundle of the integration branch; it comes from the Taskmaster, over an authenticated connection. The
    /// branch moves forward only, and never while it is checked out.
    pub fn take_back(&self, bundle: &Path) -> Result<Returned, Error> {
        let broken = |detail: String| Error::Git { command: "fetch".into(), detail };
        let header = read_header(File::open(bundle).map_err(Error::io("open", bundle))?).map_err(broken)?;
        let name = self.integration_ref();
        let [(tip, _)] = header.refs.iter().filter(|(_, found)| *found == name).collect::<Vec<_>>()[..] else {
            return Err(broken(format!("the bundle does not carry `{name}`")));
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
