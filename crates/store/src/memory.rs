//! The in-memory store: the same contract without a disk, for tests and simulations of the layers above. It encodes its
//! records, so it refuses whatever the disk would refuse. Deliberately absent: durability, schema versions, chunks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use devstack_dag::{
    fact::Fact,
    ids::Timestamp,
    record::{Record, RecordKey},
};

use super::{
    Commit, FactsPage, InstallationLabel, Meta, Read, RequestKey, Seq, Store, StoreError, StoreReader, StoredReply,
    Term,
    commit::{admit, page_bounds},
    schema::{ReplyRow, Row, check_size},
};

/// A store that exists as long as the process.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    state: Arc<RwLock<State>>,
}

#[derive(Debug)]
struct State {
    meta: Meta,
    records: HashMap<RecordKey, Record>,
    facts: BTreeMap<Seq, Fact>,
    replies: HashMap<RequestKey, ReplyRow>,
}

impl MemoryStore {
    /// An empty store of this installation.
    pub fn new(label: InstallationLabel) -> Self {
        let meta = Meta { seq: Seq(0), first: Seq(1), term: Term(0), last_time: Timestamp(0), label };
        let state = State { meta, records: HashMap::new(), facts: BTreeMap::new(), replies: HashMap::new() };
        Self { state: Arc::new(RwLock::new(state)) }
    }

    // Only the allocator can panic under the lock: the state is replaced only after every check.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn check_rows(group: &[Commit]) -> Result<(), StoreError> {
    let mut buffer = Vec::new();
    let mut size = |encode: &dyn Fn(&mut Vec<u8>) -> Result<(), String>, what: &dyn Fn() -> String| {
        buffer.clear();
        encode(&mut buffer).map_err(|why| StoreError::Damaged { what: what(), why })?;
        check_size(buffer.len(), what)
    };
    for commit in group {
        for (seq, fact) in (commit.expected_seq.0 + 1..).zip(&commit.facts) {
            size(&|out| fact.encode(out), &|| format!("fact {seq}"))?;
        }
        for record in &commit.records {
            size(&|out| record.encode(out), &|| format!("record {:?}", record.key()))?;
        }
        for record in commit.packed.records() {
            record.map_err(|why| StoreError::Damaged { what: "a packed record".into(), why })?;
        }
        for (key, reply) in &commit.replies {
            let row = ReplyRow { seq: commit.seq_after(), reply: reply.clone() };
            size(&|out| row.encode(out), &|| format!("reply {:?}", key.as_str()))?;
        }
    }
    Ok(())
}

impl State {
    fn apply(&mut self, commit: &Commit) {
        let seq = commit.seq_after();
        for (number, fact) in (commit.expected_seq.0 + 1..).zip(&commit.facts) {
            self.facts.insert(Seq(number), fact.clone());
        }
        // Already decoded once.
        for record in commit.packed.records().flatten() {
            self.records.insert(record.key(), record);
        }
        for record in &commit.records {
            self.records.insert(record.key(), record.clone());
        }
        for key in &commit.removed {
            self.records.remove(key);
        }
        for (key, reply) in &commit.replies {
            self.replies.insert(key.clone(), ReplyRow { seq, reply: reply.clone() });
        }
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, group: &[Commit]) -> Result<Seq, StoreError> {
        let mut state = self.write();
        let next = admit(&state.meta, group)?;
        check_rows(group)?;
        group.iter().for_each(|commit| state.apply(commit));
        state.meta = next;
        Ok(next.seq)
    }

    fn new_term(&mut self) -> Result<Term, StoreError> {
        let mut state = self.write();
        state.meta.term.0 += 1;
        Ok(state.meta.term)
    }

    fn prune(&mut self, facts_from: Seq, replies_from: Seq) -> Result<(), StoreError> {
        let mut state = self.write();
        let first = facts_from.clamp(state.meta.first, Seq(state.meta.seq.0 + 1));
        state.facts = state.facts.split_off(&first);
        state.meta.first = first;
        state.replies.retain(|_, row| row.seq >= replies_from);
        Ok(())
    }

    fn restore(&mut self, meta: &Meta, content: &Commit) -> Result<(), StoreError> {
        let mut state = self.write();
        if state.meta.seq != Seq(0) || !state.records.is_empty() || !state.replies.is_empty() {
            return Err(StoreError::NotEmpty);
        }
        check_rows(std::slice::from_ref(content))?;
        state.apply(content);
        state.meta = *meta;
        Ok(())
    }

    fn meta(&self) -> Meta {
        self.read().meta
    }

    fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.read().records.values().cloned().for_each(each);
        Ok(())
    }

    fn replies(&self, each: &mut dyn FnMut(RequestKey, StoredReply)) -> Result<(), StoreError> {
        self.read().replies.iter().for_each(|(key, row)| each(key.clone(), row.reply.clone()));
        Ok(())
    }

    fn reader(&self) -> StoreReader {
        Arc::new(self.clone())
    }
}

impl Read for MemoryStore {
    fn reply(&self, key: &RequestKey) -> Result<Option<StoredReply>, StoreError> {
        Ok(self.read().replies.get(key).map(|row| row.reply.clone()))
    }

    fn facts(&self, after: Seq, limit: usize) -> Result<FactsPage, StoreError> {
        let state = self.read();
        let numbers = page_bounds(after, limit, state.meta.first, state.meta.seq)?;
        let facts = state.facts.range(Seq(numbers.start)..Seq(numbers.end));
        Ok(FactsPage { facts: facts.map(|(seq, fact)| (*seq, fact.clone())).collect(), last: state.meta.seq })
    }
}
