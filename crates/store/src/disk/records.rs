//! Decides which copy of a record counts. A single row and several chunks may all hold a copy. The highest version is
//! the truth, and a [`RowKind::Removed`] row with the highest version means that the record does not exist.

use std::collections::HashMap;

use devstack_dag::record::Record;
use sled::IVec;

use super::{SledStore, keys, write::backend};
use crate::{
    StoreError,
    envelope::{self, Frame, RowKind},
    packed,
    schema::Row,
};

/// The version of a copy, and whether it has its own row (which wins over a chunk of the same commit).
type Rank = (u64, bool);

/// By record key: the highest rank seen, for records that may have another copy.
pub(super) type Ranks = HashMap<Box<[u8]>, Rank>;

/// The entries of one chunk, split into live and dead.
pub(super) struct Sorted<'a> {
    /// The chunk's schema version.
    pub(super) schema: u8,
    /// Entries that count.
    pub(super) live: Vec<packed::Entry<'a>>,
    /// Entries that were superseded.
    pub(super) dead: Vec<packed::Entry<'a>>,
}

/// A chunk: the key, version and bytes of its row.
pub(super) struct Chunk {
    pub(super) key: IVec,
    pub(super) version: u64,
    row: IVec,
}

impl Chunk {
    /// Splits the entries by the ranks seen so far (rows, and newer chunks). Records their ranks where an older copy
    /// may follow.
    fn sort(&self, ranks: &mut Ranks, older_follow: bool) -> Result<Sorted<'_>, StoreError> {
        let frame = open_row(&self.key, &self.row)?;
        let rank = (self.version, false);
        let mut sorted = Sorted { schema: frame.schema, live: Vec::new(), dead: Vec::new() };
        for entry in packed::entries(frame.body).map_err(|why| damaged(&self.key, why))? {
            match ranks.get_mut(entry.0) {
                Some(seen) if *seen > rank => {
                    sorted.dead.push(entry);
                    continue;
                }
                Some(seen) => *seen = rank,
                None if older_follow => drop(ranks.insert(entry.0.into(), rank)),
                None => {}
            }
            sorted.live.push(entry);
        }
        Ok(sorted)
    }
}

/// A record's own row.
pub(super) struct Single<'a> {
    pub(super) version: u64,
    pub(super) schema: u8,
    /// `None`: removed.
    pub(super) record: Option<&'a [u8]>,
}

impl Single<'_> {
    /// Whether a chunk holds a newer copy. Known after all chunks were walked.
    pub(super) fn is_overtaken(&self, key: &[u8], ranks: &Ranks) -> bool {
        ranks.get(&key[1..]).is_some_and(|seen| *seen > (self.version, true))
    }
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
    /// The ranks of all records that have their own row.
    pub(super) fn single_ranks(&self) -> Result<Ranks, StoreError> {
        let mut ranks = Ranks::new();
        for row in self.core.tree.range(keys::all(keys::RECORD)) {
            let (key, row) = row.map_err(backend("reading records"))?;
            ranks.insert(key[1..].into(), (single(&key, &row)?.version, true));
        }
        Ok(ranks)
    }

    /// Hands over every chunk, newest first, with its entries split. `ranks` must start as [`Self::single_ranks`];
    /// after the walk it covers every row that a chunk superseded.
    pub(super) fn walk_chunks(
        &self,
        ranks: &mut Ranks,
        each: &mut dyn FnMut(&Chunk, Sorted<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut oldest = None;
        let rows = self.core.tree.range(keys::all(keys::CHUNK));
        for row in rows.rev() {
            let (key, row) = row.map_err(backend("reading records"))?;
            let version =
                |key: &[u8]| keys::chunk_version(key).ok_or_else(|| damaged(key, "its key has no version".into()));
            let oldest = match oldest {
                Some(oldest) => oldest,
                None => {
                    let first = self.core.tree.range(keys::all(keys::CHUNK)).keys().next();
                    let first = first.transpose().map_err(backend("reading records"))?;
                    *oldest.insert(version(first.as_ref().unwrap_or(&key))?)
                }
            };
            let chunk = Chunk { version: version(&key)?, key, row };
            let sorted = chunk.sort(ranks, chunk.version > oldest)?;
            each(&chunk, sorted)?;
        }
        Ok(())
    }

    /// Hands over every record once.
    pub(super) fn read_records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let mut ranks = Ranks::new();
        if self.chunked {
            ranks = self.single_ranks()?;
            self.walk_chunks(&mut ranks, &mut |chunk, sorted| {
                for (_, record) in sorted.live {
                    each(decode(&chunk.key, sorted.schema, record)?);
                }
                Ok(())
            })?;
        }
        for row in self.core.tree.range(keys::all(keys::RECORD)) {
            let (key, row) = row.map_err(backend("reading records"))?;
            let single = single(&key, &row)?;
            match single.record {
                Some(record) if !single.is_overtaken(&key, &ranks) => each(decode(&key, single.schema, record)?),
                _ => {}
            }
        }
        Ok(())
    }
}
