//! The store: one commit contract, and the only crate that uses `sled` and `bincode`.
//!
//! A group of [`Commit`]s becomes durable as a whole or not at all ([`Store::commit`]). Records are the truth at open;
//! facts are the numbered, prunable history next to them. [`SledStore`] keeps both on disk, [`MemoryStore`] keeps them
//! in memory under the same contract, [`Journal`] is the thread that groups commits, [`Blobs`] holds payloads that are
//! too large for a record.
//!
//! Deliberately absent: the meaning of records (the engine knows it), async (completions are callbacks), retries (after
//! a failed sync the content of the disk is unknown: the process ends and the next one reads the disk).

mod blobs;
mod commit;
mod disk;
mod envelope;
mod error;
pub mod fault;
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

/// The commit contract. One writer owns the store; readers use [`Store::reader`].
pub trait Store: Send {
    /// Makes the group durable, in order, as a whole: after a power loss either all of it exists, or nothing. Returns
    /// the number of the last fact. Refusals ([`StoreError::is_refusal`]) wrote nothing; after any other error the
    /// outcome is unknown and the process must end.
    fn commit(&mut self, group: &[Commit]) -> Result<Seq, StoreError>;

    /// Begins the next term, durably: a holder of the old term can no longer commit.
    fn new_term(&mut self) -> Result<Term, StoreError>;

    /// Removes facts before `facts_from`, and replies of commits that ended before `replies_from`.
    fn prune(&mut self, facts_from: Seq, replies_from: Seq) -> Result<(), StoreError>;

    /// Fills an empty store with the content of another one: its position, its facts from `meta.first` on, its records
    /// and its replies. All or nothing.
    fn restore(&mut self, meta: &Meta, content: &Commit) -> Result<(), StoreError>;

    /// The current position of the store.
    fn meta(&self) -> Meta;

    /// Hands over every record once, in no order.
    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError>;

    /// Hands over every stored reply, in no order.
    fn replies(&self, each: &mut dyn FnMut(RequestKey, StoredReply)) -> Result<(), StoreError>;

    /// A handle for reading while a writer works. It keeps the store open until it is dropped.
    fn reader(&self) -> StoreReader;

    /// Everything that a start needs.
    fn load(&self) -> Result<Loaded, StoreError> {
        let mut records = Vec::new();
        self.records(&mut |record| records.push(record))?;
        Ok(Loaded { meta: self.meta(), records })
    }
}

/// Reading while a writer works.
pub trait Read: Send + Sync {
    /// The reply stored under a request key. Its commit may not be durable yet, so answer after a barrier
    /// ([`Journal::barrier`]).
    fn reply(&self, key: &RequestKey) -> Result<Option<StoredReply>, StoreError>;

    /// At most `limit` durable facts after `after`; [`StoreError::OutOfRange`] when those are not stored (or not yet).
    fn facts(&self, after: Seq, limit: usize) -> Result<FactsPage, StoreError>;
}

/// A cloneable handle for reading.
pub type StoreReader = Arc<dyn Read>;

/// The data that a start reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The position of the store.
    pub meta: Meta,
    /// Every record once, in no order.
    pub records: Vec<Record>,
}
