//! Which copy of a record counts: rows of single records and chunks may both hold one; the highest version is the
//! truth, and a [`RowKind::Removed`] row with the highest version means that there is none.

use std::collections::HashMap;

use devstack_dag::record::Record;
use sled::IVec;

use super::{SledStore, chunk, keys, write::backend};
use crate::store::{
    StoreError,
    envelope::{self, Frame, RowKind},
    schema::Row,
};

/// The version of a copy, and whether it has a row of its own (which wins over a chunk of the same commit).
pub(super) type Rank = (u64, bool);

/// By record key: the highest rank of any copy in a chunk.
pub(super) type Ranks = HashMap<Box<[u8]>, Rank>;

/// A chunk: its row's key and version, and the row.
pub(super) struct Chunk {
    pub(super) key: IVec,
    pub(super) version: u64,
    row: IVec,
}

impl Chunk {
    /// Its schema version and records, in the order written.
    pub(super) fn entries(&self) -> Result<(u8, Vec<chunk::Entry<'_>>), StoreError> {
        let frame = open_row(&self.key, &self.row)?;
        Ok((frame.schema, chunk::entries(frame.body).map_err(|why| damaged(&self.key, why))?))
    }
}

/// A record's own row.
pub(super) struct Single<'a> {
    pub(super) version: u64,
    pub(super) schema: u8,
    /// `None`: removed.
    pub(super) record: Option<&'a [u8]>,
}

/// Reads a record's own row.
pub(super) fn single<'a>(key: &[u8], row: &'a [u8]) -> Result<Single<'a>, StoreError> {
    let frame = open_row(key, row)?;
    let Some((version, record)) = frame.body.split_first_chunk::<8>() else {
        return Err(damaged(key, "it has no version".into()));
    };
    let record = (frame.kind == RowKind::Record).then_some(record);
    Ok(Single { version: u64::from_le_bytes(*version), schema: frame.schema, record })
}

fn open_row<'a>(key: &[u8], row: &'a [u8]) -> Result<Frame<'a>, StoreError> {
    envelope::open(key, row).map_err(|why| damaged(key, why))
}

fn damaged(key: &[u8], why: String) -> StoreError {
    StoreError::Damaged { what: keys::name(key), why }
}

fn decode(key: &[u8], schema: u8, body: &[u8]) -> Result<Record, StoreError> {
    Record::decode(schema, body).map_err(|why| damaged(key, why))
}

impl SledStore {
    /// Every chunk, newest first.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Result<Chunk, StoreError>> + use<> {
        self.core.tree.range(keys::all(keys::CHUNK)).rev().map(|row| {
            let (key, row) = row.map_err(backend("reading records"))?;
            let version = keys::chunk_version(&key).ok_or_else(|| damaged(&key, "its key has no version".into()))?;
            Ok(Chunk { key, version, row })
        })
    }

    /// The highest rank of every record that is in a chunk, counting chunks alone.
    pub(super) fn chunk_ranks(&self) -> Result<Ranks, StoreError> {
        let mut ranks = Ranks::new();
        if self.chunked {
            for chunk in self.chunks() {
                let chunk = chunk?;
                for (key, _) in chunk.entries()?.1 {
                    ranks.entry(key.into()).or_insert((chunk.version, false));
                }
            }
        }
        Ok(ranks)
    }

    /// Hands over every record once.
    pub(super) fn read_records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let mut ranks = self.chunk_ranks()?;
        for row in self.core.tree.range(keys::all(keys::RECORD)) {
            let (key, row) = row.map_err(backend("reading records"))?;
            let single = single(&key, &row)?;
            if let Some(rank) = ranks.get_mut(&key[1..]) {
                if *rank > (single.version, true) {
                    continue;
                }
                *rank = (single.version, true);
            }
            if let Some(record) = single.record {
                each(decode(&key, single.schema, record)?);
            }
        }
        if !self.chunked {
            return Ok(());
        }
        for chunk in self.chunks() {
            let chunk = chunk?;
            let (schema, entries) = chunk.entries()?;
            // Backwards, so that of two copies in one commit the last one counts.
            for (key, record) in entries.into_iter().rev() {
                let Some(rank) = ranks.get_mut(key) else { continue };
                if *rank == (chunk.version, false) {
                    each(decode(&chunk.key, schema, record)?);
                    *rank = (u64::MAX, true);
                }
            }
        }
        Ok(())
    }
}
