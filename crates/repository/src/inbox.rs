//! The inbox: a bare repository that stands for a source on a user's machine. The user's branches arrive as bundles
//! through a quarantine. Everything else treats the inbox like any source on this host: it is mirrored, followed, and
//! delivered to. Deliberately absent: checks for secrets, paths and file sizes. This is the user's own history, like
//! the user's own source.

use std::{
    io::{Seek, SeekFrom},
    path::Path,
};

use devstack_dag::ids::CommitId;
use git2::ErrorCode;

use super::{
    Error,
    bundle_header::read_header,
    git::{Git, TRANSFER_DEADLINE},
    history::is_ancestor,
    hub::{Hub, HubOptions, read_ref},
    id, oid,
    pack::{Bounds, index, open_plain, pack_count},
    quarantine::{Pushed, Refusal, Stop, damaged, policy},
    scratch::Scratch,
    source::TOLERATED,
};

/// Number of tries: a delivery may move the integration branch meanwhile, but hardly this often in a row.
const TRIES: u32 = 3;
/// The branch of HEAD before the first push.
const FIRST_HEAD: &str = "main";

/// The inbox of a project, to be shared between threads. All calls block.
pub struct Inbox {
    repo: Hub,
}

/// The branches that a push announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The base branch, to which HEAD will point.
    pub base: String,
    /// Its commit, whatever it was before.
    pub base_tip: CommitId,
    /// The integration branch.
    pub integration: String,
    /// Its commit; `None` if the user has no such branch, and the inbox's branch stays.
    pub integration_tip: Option<CommitId>,
}

/// The result of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The branches are stored durably.
    Accepted,
    /// Nothing was stored.
    Refused(Refusal),
    /// Nothing was stored: this commit was delivered to the integration branch, and the pushed one does not contain it.
    Diverged(CommitId),
}

impl Inbox {
    /// Open the inbox at `dir`, or make it. Call this once per process: it cleans up after killed processes.
    pub fn open(dir: &Path, git: Git) -> Result<Self, Error> {
        Ok(Self { repo: Hub::create(dir, git, HubOptions::new(FIRST_HEAD)?)? })
    }

    /// The inbox's directory: the source of a plan.
    pub fn dir(&self) -> &Path {
        self.repo.dir()
    }

    /// The repository itself, for copying.
    pub(crate) fn repository(&self) -> &Hub {
        &self.repo
    }

    /// Its branches by name.
    pub fn branches(&self) -> Result<Vec<(String, CommitId)>, Error> {
        self.repo.with(|repo| {
            let mut branches = Vec::new();
            for reference in repo.references_glob("refs/heads/*")? {
                let reference = reference?;
                let name = reference.name().ok().and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned);
                branches.extend(name.zip(reference.target().map(id)));
            }
            branches.sort_unstable();
            Ok(branches)
        })
    }

    /// Take the bundle at `path`, of at most `max` bytes. The base branch follows it anywhere. The integration branch,
    /// to which results are delivered, only moves forward, and stays where it is ahead.
    pub fn take(&self, path: &Path, push: &Push, max: u64) -> Result<Taken, Error> {
        for branch in [&push.base, &push.integration] {
            HubOptions::new(branch)?; // refuses an invalid branch name
        }
        match self.examine(path, push, max) {
            Ok((scratch, pushed)) => self.accept(&scratch, pushed, push),
            Err(Stop::Refused(refusal)) => Ok(Taken::Refused(refusal)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Everything up to the decision; writes only to the scratch.
    fn examine(&self, path: &Path, push: &Push, max: u64) -> Result<(Scratch, Pushed), Stop> {
        let mut file = open_plain(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        if size > max {
            return Err(policy(format!("the push has {size} bytes, more than {max}")));
        }
        let header = read_header(&mut file).map_err(damaged)?;
        for (tip, name) in &header.refs {
            if !push.refs().any(|announced| announced == (name.clone(), *tip)) {
                let name: String = name.chars().take(80).collect();
                return Err(damaged(format!("the bundle contains `{name}` at {tip}, which was not announced")));
            }
        }
        for commit in &header.prerequisites {
            if !self.repo.contains(*commit)? {
                return Err(damaged(format!("the bundle needs commit {commit}, which the Taskmaster does not have")));
            }
        }
        let objects = pack_count(&mut file, header.length)?;
        let scratch = Scratch::new(self.dir())?;
        if objects > 0 {
            file.seek(SeekFrom::Start(header.length)).map_err(Error::io("read", path))?;
            let bounds = Bounds { bytes: max, deadline: TRANSFER_DEADLINE, tolerated: &TOLERATED };
            index(self.repo.git(), self.dir(), &scratch, file, &bounds)?;
        }
        for (name, tip) in push.refs() {
            if scratch.repo()?.find_commit(oid(tip)).is_err() {
                return Err(damaged(format!(
                    "the commit {tip} of `{name}` is neither in the bundle nor on the Taskmaster"
                )));
            }
        }
        Ok((scratch, Pushed { objects, bytes: size }))
    }

    fn accept(&self, scratch: &Scratch, pushed: Pushed, push: &Push) -> Result<Taken, Error> {
        let [base, integration] = [&push.base, &push.integration].map(|branch| format!("refs/heads/{branch}"));
        let lock = self.repo.lock()?;
        let mut kept = false;
        for _ in 0..TRIES {
            let read = |name: &str| self.repo.with(|repo| read_ref(repo, name));
            let (old, mut moves) = (read(&integration)?, Vec::new());
            match (old, push.integration_tip) {
                (Some(here), Some(tip)) if is_ancestor(scratch.repo()?, tip, here)? => {}
                (Some(here), Some(tip)) if !is_ancestor(scratch.repo()?, here, tip)? => {
                    return Ok(Taken::Diverged(here));
                }
                (_, Some(tip)) => moves.push((&integration, old, tip)),
                (_, None) => {}
            }
            if base != integration {
                moves.push((&base, read(&base)?, push.base_tip));
            }
            if !std::mem::replace(&mut kept, true) {
                self.repo.keep_objects(&lock, scratch, pushed)?;
            }
            let mut swapped = true;
            for (name, old, tip) in moves.into_iter().filter(|(_, old, tip)| *old != Some(*tip)) {
                swapped &= self.repo.swap_ref(&lock, name, old, tip).map_err(|error| self.busy(error))?;
            }
            if swapped {
                self.repo.with(|repo| Ok(repo.reference_symbolic("HEAD", &base, true, "devstack").map(drop)?))?;
                return Ok(Taken::Accepted);
            }
        }
        Err(Error::Busy(self.dir().to_owned()))
    }

    /// A delivery holds the ref's own lock for a moment.
    fn busy(&self, error: Error) -> Error {
        match error {
            Error::Library(error) if error.code() == ErrorCode::Locked => Error::Busy(self.dir().to_owned()),
            other => other,
        }
    }
}

impl Push {
    /// Full names and commits. If both branches are the same, the commit is that of the base.
    fn refs(&self) -> impl Iterator<Item = (String, CommitId)> {
        let integration = self.integration_tip.map(|tip| (&self.integration, tip));
        let branches = std::iter::once((&self.base, self.base_tip)).chain(integration);
        branches.map(|(branch, tip)| (format!("refs/heads/{branch}"), tip))
    }
}
