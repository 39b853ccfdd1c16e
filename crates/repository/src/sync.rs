//! Follows a source whose integration branch moved: fast-forward where the hub has no commits of its own, else a
//! recorded sync merge. Deliberately absent: the resolution of a conflict (the engine makes a task of it).

use devstack_dag::ids::{CommitId, Timestamp};

use super::{
    Error,
    hub::Hub,
    merge::{ConflictFound, Prepared},
    message,
    publish::Published,
    source::Source,
};

/// Number of tries: the head may move between preparing and publishing, but hardly this often in a row.
const TRIES: u32 = 5;

/// The result of following the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Synced {
    /// The hub already has all commits of the source.
    Unchanged {
        /// The integration head.
        head: CommitId,
    },
    /// The integration head moved, durably.
    Moved {
        /// The new head.
        head: CommitId,
    },
    /// The source's commits conflict with the hub's; nothing moved.
    Conflict(ConflictFound),
    /// The source's branch has an unrelated history. Says why, for users.
    Refused(String),
}

impl Hub {
    /// Import the commits of the source's integration branch that the hub lacks.
    pub fn sync(&self, source: &Source, now: Timestamp) -> Result<Synced, Error> {
        let Some(tip) = source.tip(self.git(), self.integration())? else {
            return Ok(Synced::Unchanged { head: self.expect_head()? });
        };
        let tip = self.fetch_branch(source, self.integration(), tip)?;
        for _ in 0..TRIES {
            let head = self.expect_head()?;
            if self.is_ancestor(tip, head)? {
                return Ok(Synced::Unchanged { head });
            }
            let next = if self.is_ancestor(head, tip)? {
                tip
            } else {
                match self.merge_commits(head, tip, &message::sync_message(self.integration(), tip), now)? {
                    Prepared::Candidate { commit, .. } => commit,
                    Prepared::Conflict(found) => return Ok(Synced::Conflict(found)),
                    Prepared::AlreadyContained { head } => return Ok(Synced::Unchanged { head }),
                    Prepared::Refused(reason) => return Ok(Synced::Refused(reason)),
                }
            };
            let lock = self.lock()?;
            if let Published::Landed { head } = self.publish(&lock, head, next)? {
                return Ok(Synced::Moved { head });
            }
        }
        Err(Error::Busy(self.dir().to_owned()))
    }
}
