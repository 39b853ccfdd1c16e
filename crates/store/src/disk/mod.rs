//! The store on disk, behind the commit contract: sled, plus the steps that sled lacks to survive a power loss.
//!
//! A directory: `lock` (held by the process that has it open), `READY` (creation was completed), `sled/` (the
//! database). One tree: the head row, facts by number, a row for a record or a chunk for many, replies by request key.
//! Deliberately absent: more than one tree (batches are atomic within one) and sled's own subscriptions.

mod chunk;
mod compact;
mod keys;
mod lock;
mod open;
mod read;
mod records;
mod rehearse;
mod sync;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use devstack_dag::record::Record;

pub(crate) use self::sync::{create_dir_synced, sync_path};
pub use self::{lock::StoreLock, sync::SyncPolicy};
use self::{read::Core, sync::DataFile};
use super::{
    Commit, Meta, RequestKey, Seq, Store, StoreError, StoreReader, StoredReply, Term,
    commit::admit,
    envelope::RowKind,
    schema::{Head, ReplyRow},
};

/// How a store on disk is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct SledOptions {
    /// Keep the default: every other value loses acknowledged work.
    pub sync: SyncPolicy,
}

/// The store on disk. It closes when it and all its readers are dropped.
pub struct SledStore {
    core: Core,
    data: DataFile,
    /// The directory in which sled would put what does not fit its log.
    blob_files: PathBuf,
    head: Head,
    /// Whether there are chunks; if so, removals leave a mark.
    chunked: bool,
    /// Buffers reused for every commit: a row, a body, a record's key.
    buffer: Vec<u8>,
    body: Vec<u8>,
    key: Vec<u8>,
}

impl SledStore {
    /// Opens the store in `dir`, creating it if there is none, and verifies every row.
    pub fn open(dir: &Path, options: SledOptions) -> Result<Self, StoreError> {
        open::open(dir, options)
    }
}

impl Store for SledStore {
    fn commit(&mut self, group: &[Commit]) -> Result<Seq, StoreError> {
        let next = admit(&self.head.meta(), group)?;
        self.write_group(next, group)?;
        Ok(next.seq)
    }

    fn new_term(&mut self) -> Result<Term, StoreError> {
        let meta = self.head.meta();
        let term = Term(meta.term.0 + 1);
        self.write_group(Meta { term, ..meta }, &[])?;
        Ok(term)
    }

    fn prune(&mut self, facts_from: Seq, replies_from: Seq) -> Result<(), StoreError> {
        let first = facts_from.clamp(self.head.first, Seq(self.head.seq.0 + 1));
        self.prune_rows(first, replies_from)
    }

    fn restore(&mut self, meta: &Meta, content: &Commit) -> Result<(), StoreError> {
        if self.head.version != 0 || self.head.seq != Seq(0) {
            return Err(StoreError::NotEmpty);
        }
        self.write_group(*meta, std::slice::from_ref(content))
    }

    fn meta(&self) -> Meta {
        self.head.meta()
    }

    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.read_records(each)
    }

    fn replies(&self, each: &mut dyn FnMut(RequestKey, StoredReply)) -> Result<(), StoreError> {
        for row in self.core.tree.range(keys::all(keys::REPLY)) {
            let (key, row) = row.map_err(write::backend("reading replies"))?;
            let reply: ReplyRow = read::decode_row(&key, RowKind::Reply, &row)?;
            let request = std::str::from_utf8(&key[1..]).ok().and_then(|text| RequestKey::new(text).ok());
            let request = request.ok_or_else(|| StoreError::Damaged {
                what: keys::name(&key),
                why: "its key is not a request key".into(),
            })?;
            each(request, reply.reply);
        }
        Ok(())
    }

    fn reader(&self) -> StoreReader {
        Arc::new(self.core.clone())
    }
}
