//! The records of one commit, already encoded as bytes. Between decision and disk 100,000 tasks take 45 MB as values,
//! 12 MB packed. The format is that of chunks on disk (`disk::chunk`): `(key length, key, record length, record)*`,
//! block by block. Deliberately absent: deciding when there are many records (the writer of a commit does) and which
//! copy of a record counts (the disk does).

use std::fmt;

use devstack_dag::record::{Record, RecordKey};

use super::{
    MAX_RECORD,
    schema::{Row, SCHEMA, encode_key},
};

/// A block is full at this many bytes: below the limit of a single record.
const FULL: usize = 12 * 1024;

/// Encoded records, each key once. If a record is also in [`super::Commit::records`], that copy counts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Packed {
    blocks: Vec<Vec<u8>>,
    count: usize,
    last: Option<RecordKey>,
    key: Vec<u8>,
    body: Vec<u8>,
}

impl Packed {
    /// Packing is worthwhile from this many records on. Below, rows that are replaced in place are cheaper to update
    /// later.
    pub const MANY: usize = 1000;

    /// Adds a record. Returns `false` if its key is not after the last one, or if it is too large; such a record
    /// belongs into [`super::Commit::records`], where the store checks it.
    #[must_use]
    pub fn push(&mut self, record: &Record) -> bool {
        let key = record.key();
        self.key.clear();
        self.body.clear();
        if self.last.as_ref().is_some_and(|last| *last >= key)
            || encode_key(&key, &mut self.key).is_err()
            || record.encode(&mut self.body).is_err()
            || self.body.len() > MAX_RECORD
        {
            return false;
        }
        let more = entry_size(&self.key, &self.body);
        let block = match self.blocks.last_mut() {
            Some(block) if block.len() + more <= FULL => block,
            _ => {
                self.blocks.push(Vec::with_capacity(FULL.max(more)));
                let newest = self.blocks.len() - 1;
                &mut self.blocks[newest]
            }
        };
        append(block, &self.key, &self.body);
        self.count += 1;
        self.last = Some(key);
        true
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bodies of chunks, as they are written to the disk.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(Vec::as_slice)
    }

    /// The records as values.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<Record, String>> {
        let blocks = self.blocks.iter().map(|block| entries(block));
        blocks.flat_map(|block| match block {
            Ok(entries) => entries.into_iter().map(|(_, record)| Record::decode(SCHEMA, record)).collect(),
            Err(why) => vec![Err(why)],
        })
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packed records", self.count)
    }
}

/// The bytes of one entry.
pub(super) fn entry_size(key: &[u8], record: &[u8]) -> usize {
    key.len() + record.len() + 4
}

/// Appends an entry; keys (some names) and records (16 KiB) fit their 16-bit lengths.
pub(super) fn append(entries: &mut Vec<u8>, key: &[u8], record: &[u8]) {
    for part in [key, record] {
        entries.extend_from_slice(&(part.len() as u16).to_le_bytes());
        entries.extend_from_slice(part);
    }
}

/// An entry: the record's key and its bytes.
pub(super) type Entry<'a> = (&'a [u8], &'a [u8]);

/// The entries of a block, or what is wrong with it.
pub(super) fn entries(block: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let mut rest = block;
    let mut part = || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (part, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = tail;
        Some((part, tail.is_empty()))
    };
    let mut entries = Vec::new();
    let mut last = block.is_empty();
    while !last {
        let (Some((key, _)), Some((record, end))) = (part(), part()) else {
            return Err(format!("its entry {} is cut short", entries.len()));
        };
        entries.push((key, record));
        last = end;
    }
    Ok(entries)
}
