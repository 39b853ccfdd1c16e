//! Removes, at open, copies that no longer count: rows superseded by a chunk, chunks that are mostly superseded, and
//! removal marks of records that no chunk holds any more. Every batch keeps the visible records the same, so a crash in
//! between is harmless. Deliberately absent: compaction while the store runs. Large commits are rare, and each
//! supersedes a record at most once.

use std::collections::HashSet;

use sled::Batch;

use super::{
    SledStore, keys,
    records::{Ranks, single},
    write::{apply_durably, backend, seal_as},
};
use crate::{StoreError, envelope::RowKind};

/// Record keys, without the prefix.
type Keys = HashSet<Box<[u8]>>;

/// Removes copies that do not count. Returns whether chunks remain.
pub(super) fn compact(store: &SledStore) -> Result<bool, StoreError> {
    let mut ranks = store.single_ranks()?;
    let (kept, shadowed) = clear_chunks(store, &mut ranks)?;
    clear_singles(store, &ranks, &shadowed)?;
    Ok(kept)
}

/// Turns chunks of which less than half counts into rows. Returns whether chunks remain, and the keys of the copies in
/// them that do not count.
fn clear_chunks(store: &SledStore, ranks: &mut Ranks) -> Result<(bool, Keys), StoreError> {
    let mut kept = false;
    let mut shadowed = Keys::new();
    let mut buffer = Vec::new();
    store.walk_chunks(ranks, &mut |chunk, sorted| {
        if sorted.live.len() >= sorted.dead.len() {
            kept = true;
            shadowed.extend(sorted.dead.into_iter().map(|(key, _)| key.into()));
            return Ok(());
        }
        let mut batch = Batch::default();
        for (key, record) in sorted.live {
            let key = [&[keys::RECORD], key].concat();
            seal_as(sorted.schema, &mut buffer, RowKind::Record, &key, |out| {
                out.extend_from_slice(&chunk.version.to_le_bytes());
                out.extend_from_slice(record);
                Ok(())
            })?;
            batch.insert(key, buffer.as_slice());
        }
        batch.remove(&chunk.key);
        apply_durably(&store.core.tree, &store.data, batch) // every batch: see `STAGE` in `write`
    })?;
    Ok((kept, shadowed))
}

/// Removes rows that a chunk superseded, and removal marks that no copy in a chunk needs any more.
fn clear_singles(store: &SledStore, ranks: &Ranks, shadowed: &Keys) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    for row in store.core.tree.range(keys::all(keys::RECORD)) {
        let (key, row) = row.map_err(backend("reading records"))?;
        let single = single(&key, &row)?;
        if single.is_overtaken(&key, ranks) || (single.record.is_none() && !shadowed.contains(&key[1..])) {
            batch.remove(key);
        }
    }
    apply_durably(&store.core.tree, &store.data, batch)
}
