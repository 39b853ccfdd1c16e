//! What belongs to a host: the attempts whose result or log it may upload. Checked at every request of a host; the
//! host's own claims count for nothing.
//! Deliberately absent: commits (the repository knows their history) and texts (`downlink` knows its orders).

use super::Engine;
use crate::{
    attempt::Outcome,
    ids::{AttemptId, HostName},
    record::AttemptRecord,
};

impl Engine {
    /// Whether an attempt was this host's.
    fn of_host(&self, host: &HostName, attempt: &AttemptId) -> Option<&AttemptRecord> {
        self.attempts(&attempt.task).iter().find(|known| known.attempt == *attempt && known.host == *host)
    }

    /// Whether this host may upload the result of an attempt: of one that runs there, or of one that was ended here
    /// without a report, whose work is saved.
    pub fn may_bring(&self, host: &HostName, attempt: &AttemptId) -> bool {
        self.of_host(host, attempt).is_some_and(|known| match &known.outcome {
            None => true,
            Some(Outcome::Infrastructure(_) | Outcome::Stopped) => known.commit.is_none(),
            Some(_) => false,
        })
    }

    /// Whether this host may upload the log of an attempt: only of one that has ended.
    pub fn may_shelve(&self, host: &HostName, attempt: &AttemptId) -> bool {
        self.of_host(host, attempt).is_some_and(|known| known.outcome.is_some())
    }
}
