//! The Taskmaster's handle on the journal. The supervisor can take the journal away: after that nothing of the old
//! Taskmaster becomes durable. Deliberately absent: grouping and syncing (the journal's thread).

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use devstack_store::{Closed, Entry, Journal, Lookup, RequestKey, Seq, Store, StoreError};

/// A shared handle on a journal.
#[derive(Clone)]
pub struct Ledger {
    journal: Arc<Mutex<Option<Journal>>>,
    durable: Arc<AtomicU64>,
}

impl Ledger {
    /// A handle on a journal whose store is at `durable`.
    pub fn new(journal: Journal, durable: Seq) -> Self {
        Self { journal: Arc::new(Mutex::new(Some(journal))), durable: Arc::new(AtomicU64::new(durable.0)) }
    }

    /// Takes the journal away, to close it.
    pub fn take(&self) -> Option<Journal> {
        self.hold().take()
    }

    /// Queues a commit.
    pub(super) fn submit(&self, entry: Entry) -> Result<(), Closed> {
        let Entry { commit, then } = entry;
        let durable = self.durable.clone();
        let then = Box::new(move |seq: Seq| {
            durable.fetch_max(seq.0, Ordering::Release);
            then(seq);
        });
        self.hold().as_ref().ok_or(Closed)?.submit(Entry { commit, then })
    }

    /// Calls `then` when everything up to `seq` is durable: at once, if it already is.
    pub(super) fn when_durable(&self, seq: Seq, then: impl FnOnce() + Send + 'static) -> Result<(), Closed> {
        if self.durable.load(Ordering::Acquire) >= seq.0 {
            then();
            return Ok(());
        }
        self.hold().as_ref().ok_or(Closed)?.barrier(then)
    }

    /// Shows the store when everything submitted earlier is durable.
    pub(super) fn look(&self, look: impl FnOnce(&dyn Store) + Send + 'static) -> Result<(), Closed> {
        self.hold().as_ref().ok_or(Closed)?.look(look)
    }

    /// Removes facts and replies before this one.
    pub(super) fn prune(&self, before: Seq) -> Result<(), Closed> {
        self.hold().as_ref().ok_or(Closed)?.prune(before, before)
    }

    /// Whether this request was already answered.
    pub(super) fn lookup(&self, key: &RequestKey, body_hash: &[u8; 32]) -> Result<Lookup, StoreError> {
        match self.hold().as_ref() {
            Some(journal) => journal.lookup(key, body_hash),
            None => Ok(Lookup::New),
        }
    }

    fn hold(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
