//! Moves the integration ref and proves it: compare-and-swap under the project's lock, the ref made durable, then read
//! again. "Landed" means that the commit is an ancestor of the head, never that it equals the head.
//! Deliberately absent: the intent, which must be durable in the store before this is called.

use std::time::Duration;

use devstack_dag::ids::CommitId;
use git2::ErrorCode;

use super::{Error, hub::Hub, id, lock::ProjectLock, oid};

/// Another lock of the ref can only belong to a reader or packer, and is short. Number of tries, and the first pause,
/// doubled each time.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(1);

/// The result of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Proven: the candidate is an ancestor of this head.
    Landed {
        /// The head as read after the swap.
        head: CommitId,
    },
    /// The head had moved and does not contain the candidate: prepare again.
    Lost {
        /// The head as found.
        head: CommitId,
    },
}

impl Hub {
    /// Move the integration ref from `onto` to `candidate`. Repeating it after it landed returns the same result.
    pub fn publish(&self, lock: &ProjectLock, onto: CommitId, candidate: CommitId) -> Result<Published, Error> {
        let parents = self.with(|repo| {
            let commit = repo.find_commit(oid(candidate)).map_err(|_| Error::Unknown(candidate))?;
            Ok(commit.parent_ids().map(id).collect::<Vec<_>>())
        })?;
        let name = self.integration_ref();
        let found = self.expect_head()?;
        let fits = found == onto && (parents.contains(&onto) || self.is_ancestor(onto, candidate)?);
        if !fits || candidate == found {
            if self.is_ancestor(candidate, found)? {
                self.sync_ref(&name)?; // the process that moved it may have died before this step
                return Ok(Published::Landed { head: found });
            }
            return Ok(Published::Lost { head: found });
        }
        let mut tries = 0;
        loop {
            match self.swap_ref(lock, &name, Some(onto), candidate) {
                Ok(_) => break,
                Err(Error::Library(e)) if e.code() == ErrorCode::Locked && tries < TRIES => {
                    std::thread::sleep(PAUSE * 2u32.pow(tries));
                    tries += 1;
                }
                Err(e) => return Err(e),
            }
        }
        let head = self.expect_head()?;
        if self.is_ancestor(candidate, head)? { Ok(Published::Landed { head }) } else { Ok(Published::Lost { head }) }
    }
}
