//! Clearing, at open, of copies that no longer count: rows overtaken by a chunk, chunks of which most was overtaken,
//! marks of removed records that no chunk holds any more. Every batch leaves the same records standing, so a crash in
//! between is harmless.
//! Deliberately absent: clearing while running. Large commits are rare, and each overtakes a record at most once.

use std::collections::HashSet;

use sled::Batch;

use super::{
    SledStore, keys,
    records::{Ranks, single},
    write::{apply_durably, backend, seal_as},
};
use crate::store::{StoreError, envelope::RowKind};

/// Clears what does not count. Returns whether chunks remain.
pub(super) fn compact(store: &mut SledStore) -> Result<bool, StoreError> {
    let mut ranks = store.chunk_ranks()?;
    let removed = clear_singles(store, &mut ranks)?;
    let (kept, shadowed) = clear_chunks(store, &mut ranks)?;
    let mut batch = Batch::default();
    removed.into_iter().filter(|key| !shadowed.contains(&key[1..])).for_each(|key| batch.remove(key));
    apply_durably(&store.core.tree, &store.data, batch)?;
    Ok(kept)
}

/// Removes rows overtaken by a chunk and notes in `ranks` the rows that overtook one. Returns the keys of the marks.
fn clear_singles(store: &SledStore, ranks: &mut Ranks) -> Result<Vec<sled::IVec>, StoreError> {
    let mut batch = Batch::default();
    let mut removed = Vec::new();
    for row in store.core.tree.range(keys::all(keys::RECORD)) {
        let (key, row) = row.map_err(backend("reading records"))?;
        let single = single(&key, &row)?;
        match ranks.get_mut(&key[1..]) {
            Some(rank) if *rank > (single.version, true) => {
                batch.remove(key);
                continue;
            }
            Some(rank) => *rank = (single.version, true),
            None => {}
        }
        if single.record.is_none() {
            removed.push(key);
        }
    }
    apply_durably(&store.core.tree, &store.data, batch)?;
    Ok(removed)
}

/// Turns chunks of which less than half counts into rows. Returns whether chunks remain, and the keys of the copies
/// in them that do not count.
fn clear_chunks(store: &mut SledStore, ranks: &mut Ranks) -> Result<(bool, HashSet<Box<[u8]>>), StoreError> {
    let mut kept = false;
    let mut shadowed = HashSet::new();
    for chunk in store.chunks() {
        let chunk = chunk?;
        let (schema, entries) = chunk.entries()?;
        let total = entries.len();
        // Backwards, so that of two copies in one commit the last one counts.
        let (live, dead): (Vec<_>, Vec<_>) = entries.into_iter().rev().partition(|(key, _)| {
            let live = ranks.get(*key) == Some(&(chunk.version, false));
            if live {
                ranks.insert((*key).into(), (u64::MAX, true));
            }
            live
        });
        if live.len() * 2 >= total {
            kept = true;
            shadowed.extend(dead.into_iter().map(|(key, _)| key.into()));
            continue;
        }
        let mut batch = Batch::default();
        for (key, record) in live {
            let key = [&[keys::RECORD], key].concat();
            seal_as(schema, &mut store.buffer, RowKind::Record, &key, |out| {
                out.extend_from_slice(&chunk.version.to_le_bytes());
                out.extend_from_slice(record);
                Ok(())
            })?;
            batch.insert(key, store.buffer.as_slice());
        }
        batch.remove(&chunk.key);
        apply_durably(&store.core.tree, &store.data, batch)?;
    }
    Ok((kept, shadowed))
}
