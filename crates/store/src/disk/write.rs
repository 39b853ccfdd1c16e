//! Writes a group of commits as rows.
//!
//! A group is one sled batch, then flush, then our own sync. One large batch would be atomic too, but measured badly
//! (100,000 records of 250 bytes: 2.7 s, 690 MB). The records of a large commit therefore go into chunks, many to a
//! row, and chunks and facts are applied ahead in batches of a MiB. They are invisible until the head row of the last
//! batch counts them. sled's log recovers in order, so a crash in between leaves rows past the head, which the next
//! open removes.

use devstack_dag::record::{Record, RecordKey};
use sled::Batch;
use std::{collections::HashSet, path::Path};

use super::{SledStore, chunk::ChunkWriter, keys, sync::DataFile};
use crate::{
    Commit, Meta, Packed, Seq, StoreError,
    envelope::{self, RowKind},
    schema::{Head, ReplyRow, Row, SCHEMA, check_size, encode_key},
};

/// A commit with more records than this writes them in chunks.
const BULK: usize = Packed::MANY;

/// Facts and chunks are applied ahead of the head row and synced once they reach this many bytes, because unsynced data
/// must stay within one of sled's segments. sled treats a segment as durable once its flush is done, and at recovery
/// skips torn data in it instead of stopping; it also reuses segments whose content it moved. Small batches also keep
/// sled's pinned memory small (100,000 tasks: 45 MB at the peak; with 4 MiB 60 MB).
const STAGE: usize = 1024 * 1024;

/// Rows removed in one batch while pruning.
const PRUNE_ROWS: usize = 1000;

/// For `map_err`: sled failed at a step.
pub(super) fn backend(step: &str) -> impl FnOnce(sled::Error) -> StoreError {
    let step = step.to_owned();
    move |error| {
        let source = match error {
            sled::Error::Io(error) => error,
            sled::Error::Corruption { .. } => {
                return StoreError::Damaged { what: "the database".into(), why: format!("{step}: {error}") };
            }
            other => std::io::Error::other(other.to_string()),
        };
        StoreError::Io { step, source }
    }
}

/// Applies a batch and returns when it is on the disk.
pub(super) fn apply_durably(tree: &sled::Tree, data: &DataFile, batch: Batch) -> Result<(), StoreError> {
    tree.apply_batch(batch).map_err(backend("writing the store"))?;
    tree.flush().map_err(backend("flushing the store"))?;
    data.sync()
}

/// sled puts pages over a quarter of its segment into files that it never syncs; with our limits there are none.
pub(super) fn check_no_blob_files(dir: &Path) -> Result<(), StoreError> {
    let mut names = std::fs::read_dir(dir).map_err(StoreError::io(format!("reading {}", dir.display())))?;
    match names.next() {
        None => Ok(()),
        Some(_) => Err(StoreError::Damaged {
            what: dir.display().to_string(),
            why: "sled wrote a page outside its log, which is not safe at a power loss".into(),
        }),
    }
}

/// Adds the head row to a batch.
pub(super) fn put_head(batch: &mut Batch, head: &Head, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
    seal(buffer, RowKind::Head, keys::HEAD, |out| head.encode(out))?;
    batch.insert(keys::HEAD, buffer.as_slice());
    Ok(())
}

/// Frames a row; if the encoder fails (no type of ours does), the error names the row's key.
pub(super) fn seal(
    buffer: &mut Vec<u8>,
    kind: RowKind,
    key: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), StoreError> {
    seal_as(SCHEMA, buffer, kind, key, write)
}

/// Frames a row whose body has an older schema version.
pub(super) fn seal_as(
    schema: u8,
    buffer: &mut Vec<u8>,
    kind: RowKind,
    key: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), StoreError> {
    envelope::seal(buffer, kind, schema, key, write)
        .map_err(|why| StoreError::Damaged { what: keys::name(key), why: format!("it cannot be encoded: {why}") })
}

impl SledStore {
    /// Makes the group durable and sets the head to `next`.
    pub(super) fn write_group(&mut self, next: Meta, group: &[Commit]) -> Result<(), StoreError> {
        let mut head = Head {
            seq: next.seq,
            first: next.first,
            term: next.term,
            last_time: next.last_time,
            label: next.label,
            version: self.head.version,
        };
        let mut stage = Stage { batch: Batch::default(), bytes: 0, applied: false };
        let mut chunked = false;
        let encoded = self.encode_group(group, &mut head, &mut stage, &mut chunked);
        if let Err(error) = encoded.and_then(|()| put_head(&mut stage.batch, &head, &mut self.buffer)) {
            if stage.applied {
                self.drop_unfinished()?;
            }
            return Err(error);
        }
        apply_durably(&self.core.tree, &self.data, stage.batch)?;
        if stage.applied {
            check_no_blob_files(&self.blob_files)?;
        }
        self.chunked |= chunked;
        self.head = head;
        self.core.publish(head.meta());
        Ok(())
    }

    fn encode_group(
        &mut self,
        group: &[Commit],
        head: &mut Head,
        stage: &mut Stage,
        chunked: &mut bool,
    ) -> Result<(), StoreError> {
        // First everything that may be applied ahead of the head row.
        for (version, commit) in (head.version + 1..).zip(group) {
            self.encode_facts(commit, stage)?;
            let many = commit.records.len() > BULK;
            if many || !commit.packed.is_empty() {
                *chunked = true;
                self.encode_chunks(version, if many { &commit.records } else { &[] }, &commit.packed, stage)?;
            }
        }
        for commit in group {
            head.version += 1;
            if commit.records.len() <= BULK {
                for record in &commit.records {
                    self.put_record(&mut stage.batch, head.version, record)?;
                }
            }
            for key in &commit.removed {
                self.put_removed(&mut stage.batch, head.version, key, self.chunked || *chunked)?;
            }
            self.put_replies(&mut stage.batch, commit)?;
        }
        Ok(())
    }

    fn encode_facts(&mut self, commit: &Commit, stage: &mut Stage) -> Result<(), StoreError> {
        for (seq, fact) in (commit.expected_seq.0 + 1..).zip(&commit.facts) {
            self.body.clear();
            let key = keys::fact(seq);
            fact.encode(&mut self.body).map_err(|why| StoreError::Damaged { what: format!("fact {seq}"), why })?;
            check_size(self.body.len(), || format!("fact {seq}"))?;
            seal(&mut self.buffer, RowKind::Fact, &key, |out| {
                out.extend_from_slice(&self.body);
                Ok(())
            })?;
            stage.put(&self.core.tree, &self.data, &key, &self.buffer)?;
        }
        Ok(())
    }

    fn encode_chunks(
        &mut self,
        version: u64,
        records: &[Record],
        packed: &Packed,
        stage: &mut Stage,
    ) -> Result<(), StoreError> {
        let mut chunks = ChunkWriter::new(version);
        let mut seen: HashSet<Box<[u8]>> = HashSet::with_capacity(records.len());
        // Backwards, so that the last copy of a key is met first: the chunks of a commit hold each key once.
        for record in records.iter().rev() {
            self.encode_record(record)?;
            if !seen.insert(self.key.as_slice().into()) {
                continue;
            }
            if chunks.is_full(&self.key, &self.body) {
                let key = chunks.seal(&mut self.buffer)?;
                stage.put(&self.core.tree, &self.data, &key, &self.buffer)?;
            }
            chunks.push(&self.key, &self.body);
        }
        if !chunks.is_empty() {
            let key = chunks.seal(&mut self.buffer)?;
            stage.put(&self.core.tree, &self.data, &key, &self.buffer)?;
        }
        for block in packed.blocks() {
            let key = chunks.row(block, &mut self.buffer)?;
            stage.put(&self.core.tree, &self.data, &key, &self.buffer)?;
        }
        Ok(())
    }

    /// Leaves the record's key in `self.key` and its bytes in `self.body`.
    fn encode_record(&mut self, record: &Record) -> Result<(), StoreError> {
        let what = || format!("record {:?}", record.key());
        self.key.clear();
        self.body.clear();
        encode_key(&record.key(), &mut self.key)
            .and_then(|()| record.encode(&mut self.body))
            .map_err(|why| StoreError::Damaged { what: what(), why })?;
        check_size(self.body.len(), what)
    }

    fn put_record(&mut self, batch: &mut Batch, version: u64, record: &Record) -> Result<(), StoreError> {
        self.encode_record(record)?;
        self.key.insert(0, keys::RECORD);
        seal(&mut self.buffer, RowKind::Record, &self.key, |out| {
            out.extend_from_slice(&version.to_le_bytes());
            out.extend_from_slice(&self.body);
            Ok(())
        })?;
        batch.insert(self.key.as_slice(), self.buffer.as_slice());
        Ok(())
    }

    /// Removes the record's row; if a chunk has an older copy, a removal mark is needed.
    fn put_removed(&mut self, batch: &mut Batch, version: u64, key: &RecordKey, mark: bool) -> Result<(), StoreError> {
        self.key.clear();
        self.key.push(keys::RECORD);
        encode_key(key, &mut self.key).map_err(|why| StoreError::Damaged { what: format!("record {key:?}"), why })?;
        if !mark {
            batch.remove(self.key.as_slice());
            return Ok(());
        }
        seal(&mut self.buffer, RowKind::Removed, &self.key, |out| {
            out.extend_from_slice(&version.to_le_bytes());
            Ok(())
        })?;
        batch.insert(self.key.as_slice(), self.buffer.as_slice());
        Ok(())
    }

    fn put_replies(&mut self, batch: &mut Batch, commit: &Commit) -> Result<(), StoreError> {
        for (request, reply) in &commit.replies {
            let what = || format!("the reply to request {:?}", request.as_str());
            self.body.clear();
            let row = ReplyRow { seq: commit.seq_after(), reply: reply.clone() };
            row.encode(&mut self.body).map_err(|why| StoreError::Damaged { what: what(), why })?;
            check_size(self.body.len(), what)?;
            let key = keys::reply(request.as_str());
            seal(&mut self.buffer, RowKind::Reply, &key, |out| {
                out.extend_from_slice(&self.body);
                Ok(())
            })?;
            batch.insert(key, self.buffer.as_slice());
        }
        Ok(())
    }

    /// Removes facts and chunks past the head, which a crash or a refusal left before they counted, and facts behind
    /// the horizon, which a crash left during pruning.
    pub(super) fn drop_unfinished(&mut self) -> Result<(), StoreError> {
        self.remove_rows(self.core.tree.range(keys::fact(0)..keys::fact(self.head.first.0)).keys())?;
        let facts = keys::fact(self.head.seq.0 + 1).to_vec()..keys::all(keys::FACT).end.to_vec();
        let chunks = keys::chunk(self.head.version + 1, 0).to_vec()..keys::all(keys::CHUNK).end.to_vec();
        self.remove_rows(self.core.tree.range(facts).keys())?;
        self.remove_rows(self.core.tree.range(chunks).keys())
    }

    /// Removes facts before `first`, and replies given before `replies_from`. The new horizon is made durable first.
    pub(super) fn prune_rows(&mut self, first: Seq, replies_from: Seq) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let head = Head { first, ..self.head };
        put_head(&mut batch, &head, &mut self.buffer)?;
        apply_durably(&self.core.tree, &self.data, batch)?;
        self.head = head;
        self.core.publish(head.meta());
        self.remove_rows(self.core.tree.range(keys::fact(0)..keys::fact(first.0)).keys())?;
        let mut old = Vec::new();
        for row in self.core.tree.range(keys::all(keys::REPLY)) {
            let (key, row) = row.map_err(backend("reading replies"))?;
            let reply: ReplyRow = super::read::decode_row(&key, RowKind::Reply, &row)?;
            if reply.seq < replies_from {
                old.push(Ok(key));
            }
        }
        self.remove_rows(old.into_iter())
    }

    fn remove_rows(&self, rows: impl Iterator<Item = sled::Result<sled::IVec>>) -> Result<(), StoreError> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut batch = Batch::default();
            for key in rows.by_ref().take(PRUNE_ROWS) {
                batch.remove(key.map_err(backend("reading the store"))?);
            }
            apply_durably(&self.core.tree, &self.data, batch)?;
        }
        Ok(())
    }
}

/// The batch being filled, and whether part of the group was applied ahead.
struct Stage {
    batch: Batch,
    bytes: usize,
    applied: bool,
}

impl Stage {
    fn put(&mut self, tree: &sled::Tree, data: &DataFile, key: &[u8], row: &[u8]) -> Result<(), StoreError> {
        self.batch.insert(key, row);
        self.bytes += key.len() + row.len();
        if self.bytes > STAGE {
            self.applied = true;
            self.bytes = 0;
            apply_durably(tree, data, std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }
}
