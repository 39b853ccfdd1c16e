//! Reads rows as values, while a writer may be in the middle of a batch. Facts are visible only up to the last durable
//! one. A reply may be visible before it is durable, so answers wait for a barrier.

use std::sync::{Arc, RwLock};

use super::{keys, lock::StoreLock, write::backend};
use crate::{
    FactsPage, Meta, Read, RequestKey, Seq, StoreError, StoredReply,
    commit::page_bounds,
    envelope::{self, RowKind},
    schema::{ReplyRow, Row},
};

/// The state shared by readers and the writer. Fields drop in order: the lock is last, when the database is closed.
#[derive(Clone)]
pub(super) struct Core {
    pub(super) tree: sled::Db,
    /// The numbers of the stored, durable facts: first and last.
    durable: Arc<RwLock<(Seq, Seq)>>,
    _lock: Arc<StoreLock>,
}

impl Core {
    pub(super) fn new(tree: sled::Db, meta: Meta, lock: StoreLock) -> Self {
        Self { tree, durable: Arc::new(RwLock::new((meta.first, meta.seq))), _lock: Arc::new(lock) }
    }

    /// Shows readers what is durable now.
    pub(super) fn publish(&self, meta: Meta) {
        // Two numbers are written under the lock: nothing in it can panic.
        *self.durable.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = (meta.first, meta.seq);
    }

    fn durable(&self) -> (Seq, Seq) {
        *self.durable.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Read for Core {
    fn reply(&self, key: &RequestKey) -> Result<Option<StoredReply>, StoreError> {
        let key = keys::reply(key.as_str());
        let row = self.tree.get(&key).map_err(backend("reading a reply"))?;
        row.map(|row| decode_row::<ReplyRow>(&key, RowKind::Reply, &row).map(|row| row.reply)).transpose()
    }

    fn facts(&self, after: Seq, limit: usize) -> Result<FactsPage, StoreError> {
        let (first, last) = self.durable();
        let numbers = page_bounds(after, limit, first, last)?;
        let mut facts = Vec::new();
        for (number, row) in numbers.clone().zip(self.tree.range(keys::fact(numbers.start)..keys::fact(numbers.end))) {
            let (key, row) = row.map_err(backend("reading facts"))?;
            if keys::fact_seq(&key) != Some(Seq(number)) {
                break;
            }
            facts.push((Seq(number), decode_row(&key, RowKind::Fact, &row)?));
        }
        if facts.len() as u64 == numbers.end - numbers.start {
            return Ok(FactsPage { facts, last });
        }
        // A gap: the facts were pruned meanwhile, or lost.
        let (first, last) = self.durable();
        page_bounds(after, limit, first, last)?;
        let missing = numbers.start + facts.len() as u64;
        Err(StoreError::Damaged { what: format!("fact {missing}"), why: "it is missing".into() })
    }
}

/// The value in a row of this kind.
pub(super) fn decode_row<T: Row>(key: &[u8], kind: RowKind, row: &[u8]) -> Result<T, StoreError> {
    let damaged = |why| StoreError::Damaged { what: keys::name(key), why };
    let frame = envelope::open(key, row).map_err(damaged)?;
    if frame.kind != kind {
        return Err(damaged(format!("it holds a {:?} row", frame.kind)));
    }
    T::decode(frame.schema, frame.body).map_err(damaged)
}
