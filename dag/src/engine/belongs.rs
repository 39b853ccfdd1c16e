//! What is a host's own: the attempts whose result or log it may bring. Asked at every request of a host, which is believed about
//! nothing.
//! Deliberately absent: commits (the repository knows which are in whose history) and texts (`downlink` knows its orders).

use super::Engine;
use crate::{
    attempt::Outcome,
    ids::{AttemptId, HostName},
    record::AttemptRecord,
};

impl Engine {
    /// An attempt that was this host's.
    fn of_host(&self, host: &HostName, attempt: &AttemptId) -> Option<&AttemptRecord> {
        self.attempts(&attempt.task).iter().find(|known| known.attempt == *attempt && known.host == *host)
    }

    /// May this host bring the result of an attempt? Of one that runs there; and of one that was ended here without hearing
    /// from it, whose work is saved.
    pub fn may_bring(&self, host: &HostName, attempt: &AttemptId) -> bool {
        self.of_host(host, attempt).is_some_and(|known| match &known.outcome {
            None => true,
            Some(Outcome::Infrastructure(_) | Outcome::Stopped) => known.commit.is_none(),
            Some(_) => false,
        })
    }

    /// May this host bring the log of an attempt? Of one that is over.
    pub fn may_shelve(&self, host: &HostName, attempt: &AttemptId) -> bool {
        self.of_host(host, attempt).is_some_and(|known| known.outcome.is_some())
    }
}
