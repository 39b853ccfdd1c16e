//! `refs/devstack/attempts/<task>/<n>`: the commit of every finished attempt stays reachable until its task is proven
//! done, and then for a retention. Merging reads only these refs.
//! Deliberately absent: knowing which tasks are done (the engine says so).

use std::time::{Duration, SystemTime};

use devstack_dag::ids::{AttemptId, CommitId, TaskRef};

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

    /// Drop the pins of attempts 1 to `upto` that are older than `retention`; returns how many. Only for tasks whose
    /// proof is durable. A dropped pin that comes back after a power cut is dropped by the next call.
    pub fn drop_pins(&self, task: &TaskRef, upto: u32, retention: Duration, now: SystemTime) -> Result<usize, Error> {
        let _lock = self.lock()?;
        let mut dropped = 0;
        for (number, _) in self.pins(task)?.into_iter().filter(|(number, _)| *number <= upto) {
            let name = pin_ref(&AttemptId { task: task.clone(), number });
            let path = self.dir().join(&name);
            let written = std::fs::metadata(&path).and_then(|m| m.modified()).map_err(Error::io("read", &path))?;
            if now.duration_since(written).is_ok_and(|age| age >= retention) {
                self.with(|repo| Ok(repo.find_reference(&name)?.delete()?))?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}
