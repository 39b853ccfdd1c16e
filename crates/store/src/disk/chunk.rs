//! Chunks: many records of one large commit in one row, `(key length, key, record length, record)*`. A chunk is written
//! once. A record that is updated later gets its own row, and of two copies the higher version is the truth.
//! Deliberately absent: deciding which copy counts (see [`super::records`]).

use super::{keys, write::seal};
use crate::{StoreError, envelope::RowKind, packed};

/// A chunk is full at this many bytes: below the limit of a single record.
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

    /// Whether there is nothing to seal.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the chunk must be sealed before this record is added.
    pub(super) fn is_full(&self, key: &[u8], record: &[u8]) -> bool {
        !self.entries.is_empty() && self.entries.len() + packed::entry_size(key, record) > FULL
    }

    /// Adds a record.
    pub(super) fn push(&mut self, key: &[u8], record: &[u8]) {
        packed::append(&mut self.entries, key, record);
    }

    /// Writes the chunk's row to `buffer` and starts the next one. Returns the row's key.
    pub(super) fn seal(&mut self, buffer: &mut Vec<u8>) -> Result<[u8; 13], StoreError> {
        let entries = std::mem::take(&mut self.entries);
        let key = self.row(&entries, buffer)?;
        self.entries = entries;
        self.entries.clear();
        Ok(key)
    }

    /// Writes the row of an already filled chunk. Returns the row's key.
    pub(super) fn row(&mut self, entries: &[u8], buffer: &mut Vec<u8>) -> Result<[u8; 13], StoreError> {
        let key = keys::chunk(self.version, self.index);
        seal(buffer, RowKind::Chunk, &key, |out| {
            out.extend_from_slice(entries);
            Ok(())
        })?;
        self.index += 1;
        Ok(key)
    }
}
