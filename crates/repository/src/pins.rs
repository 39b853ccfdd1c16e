//! `refs/devstack/attempts/<task>/<n>`: the commit of every finished attempt stays reachable until its task is proven
//! done, and then for a retention period. Merging reads only these refs. `refs/devstack/branches/<task>/<n>/<branch>`:
//! other branches that an attempt left, kept for the same time. Deliberately absent: knowing which tasks are done and
//! how long to keep refs (the engine says so).

use std::collections::BTreeMap;

use devstack_dag::ids::{AttemptId, CommitId, TaskId, TaskRef};

use super::{
    Error,
    hub::{Hub, read_ref},
    id,
};

/// The prefix of the pins.
const ROOT: &str = "refs/devstack/attempts";
/// The prefix of the branches.
const BRANCHES: &str = "refs/devstack/branches";

/// The ref of an attempt's commit. The hub determines the project.
pub fn pin_ref(attempt: &AttemptId) -> String {
    format!("{ROOT}/{}/{}", attempt.task.id, attempt.number)
}

/// The ref of another branch that an attempt left.
pub fn branch_ref(attempt: &AttemptId, branch: &str) -> String {
    format!("{BRANCHES}/{}/{}/{branch}", attempt.task.id, attempt.number)
}

impl Hub {
    /// Pin branches that an attempt left, by name; they are already in the hub. Repeating it changes nothing.
    pub(crate) fn pin_branches(&self, attempt: &AttemptId, branches: &[(String, CommitId)]) -> Result<(), Error> {
        if branches.is_empty() {
            return Ok(());
        }
        let lock = self.lock()?;
        for (branch, commit) in branches {
            let name = branch_ref(attempt, branch);
            let there = self.with(|repo| read_ref(repo, &name))?;
            if there != Some(*commit) && !self.swap_ref(&lock, &name, there, *commit)? {
                return Err(Error::NotPinned(attempt.clone()));
            }
            self.sync_ref(&name)?;
        }
        Ok(())
    }

    /// The branches pinned for an attempt, by name.
    pub fn branches(&self, attempt: &AttemptId) -> Result<Vec<(String, CommitId)>, Error> {
        let root = branch_ref(attempt, "");
        self.with(|repo| {
            let mut found = Vec::new();
            for reference in repo.references_glob(&format!("{root}*"))? {
                let reference = reference?;
                let name = reference.name().ok().and_then(|name| name.strip_prefix(root.as_str())).map(str::to_owned);
                found.extend(name.zip(reference.target().map(id)));
            }
            found.sort_unstable();
            Ok(found)
        })
    }

    /// Pin a commit in the hub as an attempt's result, durably. Repeating it changes nothing; another commit under the
    /// same number is [`Error::NotPinned`].
    pub fn pin(&self, attempt: &AttemptId, commit: CommitId) -> Result<(), Error> {
        if !self.contains(commit)? {
            return Err(Error::Unknown(commit));
        }
        let name = pin_ref(attempt);
        let lock = self.lock()?;
        match self.with(|repo| read_ref(repo, &name))? {
            Some(there) if there == commit => self.sync_ref(&name),
            Some(_) => Err(Error::NotPinned(attempt.clone())),
            None if self.swap_ref(&lock, &name, None, commit)? => Ok(()),
            None => Err(Error::NotPinned(attempt.clone())),
        }
    }

    /// The commit pinned for an attempt.
    pub fn pinned(&self, attempt: &AttemptId) -> Result<Option<CommitId>, Error> {
        self.with(|repo| read_ref(repo, &pin_ref(attempt)))
    }

    /// All pins of a task: attempt number and commit, by number.
    pub fn pins(&self, task: &TaskRef) -> Result<Vec<(u32, CommitId)>, Error> {
        self.with(|repo| {
            let mut found = Vec::new();
            for reference in repo.references_glob(&format!("{ROOT}/{}/*", task.id))? {
                let reference = reference?;
                let number = reference.name().ok().and_then(|n| n.rsplit('/').next()?.parse().ok());
                found.extend(number.zip(reference.target().map(id)));
            }
            found.sort_unstable();
            Ok(found)
        })
    }

    /// Drop one pin, whatever its age. For a number that is reused after its command was refused.
    pub fn unpin(&self, attempt: &AttemptId) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.with(|repo| {
            for reference in repo.references_glob(&format!("{}*", branch_ref(attempt, "")))? {
                reference?.delete()?;
            }
            match repo.find_reference(&pin_ref(attempt)) {
                Ok(mut reference) => Ok(reference.delete()?),
                Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(()),
                Err(e) => Err(e.into()),
            }
        })
    }

    /// Drop the pins of these tasks up to these attempts; returns their number. Only for tasks whose proof is durable
    /// and whose retention is over. If a dropped pin comes back after a power cut, the next call drops it.
    pub fn drop_pins(&self, due: &BTreeMap<TaskId, u32>) -> Result<usize, Error> {
        let _lock = self.lock()?;
        self.with(|repo| {
            let mut dropped = 0;
            for root in [ROOT, BRANCHES] {
                for reference in repo.references_glob(&format!("{root}/*"))? {
                    let mut reference = reference?;
                    let (task, number) = match reference.name().ok().and_then(|name| attempt_of(root, name)) {
                        Some(attempt) => attempt,
                        None => continue,
                    };
                    if due.get(task).is_some_and(|upto| number <= *upto) {
                        reference.delete()?;
                        dropped += 1;
                    }
                }
            }
            Ok(dropped)
        })
    }
}

/// The task and the number in `<root>/<task>/<number>`, whatever follows.
fn attempt_of<'n>(root: &str, name: &'n str) -> Option<(&'n str, u32)> {
    let mut parts = name.strip_prefix(root)?.strip_prefix('/')?.split('/');
    Some((parts.next()?, parts.next()?.parse().ok()?))
}
