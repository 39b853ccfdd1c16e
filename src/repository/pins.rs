//! `refs/devstack/attempts/<task>/<n>`: the commit of every finished attempt stays reachable until its task is proven
//! done, and then for a retention. Merging reads only these refs.
//! Deliberately absent: knowing which tasks are done or for how long (the engine says so).

use std::collections::BTreeMap;

use devstack_dag::ids::{AttemptId, CommitId, TaskId, TaskRef};

use super::{
    Error,
    hub::{Hub, read_ref},
    id,
};

/// Where the pins are.
const ROOT: &str = "refs/devstack/attempts";

/// The ref of an attempt's commit. The project is the hub's.
pub fn pin_ref(attempt: &AttemptId) -> String {
    format!("{ROOT}/{}/{}", attempt.task.id, attempt.number)
}

impl Hub {
    /// Pin a commit that is in the hub as an attempt's result, durably. Pinning the same again changes nothing;
    /// another commit under the same number is [`Error::NotPinned`].
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

    /// Drop one pin, whatever its age. For a number that is given again after its command was refused.
    pub fn unpin(&self, attempt: &AttemptId) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.with(|repo| match repo.find_reference(&pin_ref(attempt)) {
            Ok(mut reference) => Ok(reference.delete()?),
            Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(()),
            Err(e) => Err(e.into()),
        })
    }

    /// Drop the pins of these tasks up to these attempts; returns how many. Only for tasks whose proof is durable and
    /// whose retention is over. A dropped pin that comes back after a power cut is dropped by the next call.
    pub fn drop_pins(&self, due: &BTreeMap<TaskId, u32>) -> Result<usize, Error> {
        let _lock = self.lock()?;
        self.with(|repo| {
            let mut dropped = 0;
            for reference in repo.references_glob(&format!("{ROOT}/*"))? {
                let mut reference = reference?;
                let pin =
                    reference.name().ok().and_then(|name| name.strip_prefix(ROOT)?.strip_prefix('/')?.split_once('/'));
                let upto = pin.and_then(|(task, number)| Some((due.get(task)?, number.parse::<u32>().ok()?)));
                if upto.is_some_and(|(upto, number)| number <= *upto) {
                    reference.delete()?;
                    dropped += 1;
                }
            }
            Ok(dropped)
        })
    }
}
