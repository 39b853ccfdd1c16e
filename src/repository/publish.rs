//! Moves the integration ref and proves it: compare-and-swap under the project's lock, the ref made durable, then read
//! again. "Landed" means ancestor of the head, never equality.
//! Deliberately absent: the intent, which must be durable in the store before this is called.

use std::time::Duration;

use devstack_dag::ids::CommitId;
use git2::ErrorCode;

use super::{Error, hub::Hub, id, lock::ProjectLock, oid};

/// Somebody else's lock of the ref can only be a reader's or packer's: short. Tries, and the first pause, doubled each.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(1);

/// What became of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Proven: the candidate is an ancestor of this head.
    Landed {
        /// The head as read after the swap.
        head: CommitId,
    },
    /// The head had moved first and does not contain the candidate: prepare again.
    Lost {
        /// The head as found.
        head: CommitId,
    },
}

impl Hub {
    /// Move the integration ref from `onto` to `candidate`. Doing it again after it landed says so again.
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
                self.sync_ref(&name)?; // whoever moved it may have died before this
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
