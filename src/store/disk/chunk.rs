//! Chunks: many records of one large commit in one row, `(key length, key, record length, record)*`. They are written
//! once; a record updated later gets a row of its own, and of two copies the higher version is the truth.
//! Deliberately absent: deciding which copy counts (see [`super::records`]).

use super::{keys, write::seal};
use crate::store::{StoreError, envelope::RowKind};

/// A chunk is full at this many bytes: below what a single record may have.
const FULL: usize = 12 * 1024;

/// Collects records into chunks.
pub(super) struct ChunkWriter {
    version: u64,
    index: u32,
    entries: Vec<u8>,
}

impl ChunkWriter {
    pub(super) fn new(version: u64) -> Self {
        Self { version, index: 0, entries: Vec::with_capacity(FULL) }
    }

    /// Must the chunk be sealed before this record goes in?
    pub(super) fn is_full(&self, key: usize, record: usize) -> bool {
        !self.entries.is_empty() && self.entries.len() + key + record + 4 > FULL
    }

    /// Adds a record; keys (some names) and records (16 KiB) fit their 16-bit lengths.
    pub(super) fn push(&mut self, key: &[u8], record: &[u8]) {
        for part in [key, record] {
            self.entries.extend_from_slice(&(part.len() as u16).to_le_bytes());
            self.entries.extend_from_slice(part);
        }
    }

    /// Writes the chunk's row to `buffer` and starts the next one. Returns the row's key.
    pub(super) fn seal(&mut self, buffer: &mut Vec<u8>) -> Result<[u8; 13], StoreError> {
        let key = keys::chunk(self.version, self.index);
        seal(buffer, RowKind::Chunk, &key, |out| {
            out.extend_from_slice(&self.entries);
            Ok(())
        })?;
        self.entries.clear();
        self.index += 1;
        Ok(key)
    }
}

/// A record in a chunk: its key without the prefix, and its bytes.
pub(super) type Entry<'a> = (&'a [u8], &'a [u8]);

/// The entries of a chunk's body, or what does not fit.
pub(super) fn entries(body: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let mut rest = body;
    let mut part = || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (part, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = tail;
        Some((part, tail.is_empty()))
    };
    let mut entries = Vec::new();
    let mut last = body.is_empty();
    while !last {
        let (Some((key, _)), Some((record, end))) = (part(), part()) else {
            return Err(format!("its entry {} is cut short", entries.len()));
        };
        entries.push((key, record));
        last = end;
    }
    Ok(entries)
}
