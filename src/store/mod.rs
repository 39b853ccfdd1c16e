//! The store: one commit contract, and the one door to `sled` and `bincode`.
//!
//! A group of [`Commit`]s becomes durable as a whole or not at all ([`Store::commit`]); records are the truth at open,
//! facts the numbered, prunable history beside them. [`SledStore`] keeps them on disk, [`MemoryStore`] in memory behind
//! the same contract, [`Journal`] is the thread that groups commits, [`Blobs`] holds payloads too large for a record.
//!
//! Deliberately absent: what records mean (the engine), async (completions are callbacks), retries (after a failed
//! sync nobody knows what is on the disk: the process ends and the next one reads it).

mod blobs;
mod commit;
mod disk;
mod envelope;
mod error;
mod journal;
mod memory;
mod packed;
mod schema;
mod sizes;
mod transfer;

use std::sync::Arc;

use devstack_dag::record::Record;

pub use self::{
    blobs::{BlobError, BlobHold, Blobs},
    commit::{
        Commit, FactsPage, InstallationLabel, Lookup, MAX_RECORD, MAX_REQUEST_KEY, Meta, RequestKey, Seq, StoredReply,
        Term, body_hash,
    },
    disk::{SledOptions, SledStore, StoreLock, SyncPolicy},
    error::StoreError,
    journal::{Closed, Entry, Journal, JournalConfig},
    memory::MemoryStore,
    packed::Packed,
    sizes::RowSizes,
    transfer::{TransferError, export, import, import_as},
};

/// The commit contract. One writer owns it; readers go through [`Store::reader`].
pub trait Store: Send {
    /// Makes the group durable, in order, as a whole: all of it is there after a power loss, or nothing is. Returns the
    /// number of the last fact. Refusals ([`StoreError::is_refusal`]) wrote nothing; after any other error the outcome
    /// is unknown and the process must end.
    fn commit(&mut self, group: &[Commit]) -> Result<Seq, StoreError>;

    /// Begins the next term, durably: whoever still holds the old one can commit nothing more.
    fn new_term(&mut self) -> Result<Term, StoreError>;

    /// Forgets facts before `facts_from`, and replies of commits that ended before `replies_from`.
    fn prune(&mut self, facts_from: Seq, replies_from: Seq) -> Result<(), StoreError>;

    /// Fills an empty store with what another one held: its standing, its facts from `meta.first` on, its records and
    /// its replies. All or nothing.
    fn restore(&mut self, meta: &Meta, content: &Commit) -> Result<(), StoreError>;

    /// Where it stands.
    fn meta(&self) -> Meta;

    /// Every record once, in no order.
    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError>;

    /// Every reply kept, in no order.
    fn replies(&self, each: &mut dyn FnMut(RequestKey, StoredReply)) -> Result<(), StoreError>;

    /// A handle for reading while a writer works. It keeps the store open until dropped.
    fn reader(&self) -> StoreReader;

    /// Everything needed at start.
    fn load(&self) -> Result<Loaded, StoreError> {
        let mut records = Vec::new();
        self.records(&mut |record| records.push(record))?;
        Ok(Loaded { meta: self.meta(), records })
    }
}

/// Reading beside a writer.
pub trait Read: Send + Sync {
    /// What is kept under a request key. It may belong to a commit that is not durable yet: answer after a barrier
    /// ([`Journal::barrier`]).
    fn reply(&self, key: &RequestKey) -> Result<Option<StoredReply>, StoreError>;

    /// At most `limit` durable facts after `after`; [`StoreError::OutOfRange`] when those are not (or not yet) kept.
    fn facts(&self, after: Seq, limit: usize) -> Result<FactsPage, StoreError>;
}

/// A cloneable handle for reading.
pub type StoreReader = Arc<dyn Read>;

/// What a start reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Where the store stands.
    pub meta: Meta,
    /// Every record once, in no order.
    pub records: Vec<Record>,
}
