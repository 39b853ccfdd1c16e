//! The store as a writer: groups of small commits with now and then a prune, or large commits that rewrite much of it.
//!
//! What commit `n` holds follows from `n`, and so does what the store holds after it: a copy is compared whole, so a
//! commit that is torn, lost, or back from the dead is seen.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use devstack::store::{
    Commit, RequestKey, Seq, SledOptions, SledStore, Store, StoreError, StoredReply, SyncPolicy, Term, body_hash,
};
use devstack_dag::fact::{Fact, FactKind};
use devstack_dag::ids::Timestamp;
use devstack_dag::record::{HostRecord, Record, RecordKey};

use crate::power::Acks;

/// Changing calls of a first opening and of a round. A later opening takes up to 1,500, a small group about five.
pub(crate) const SPANS: (u64, u64) = (60, 4000);
/// The same for large commits: a call writes up to a mebibyte, and an opening tidies up.
pub(crate) const BULK_SPANS: (u64, u64) = (150, 2500);
/// Every so many commits the history is cut back to the last `KEPT`.
const PRUNE_EVERY: u64 = 256;
const KEPT: u64 = 100;
/// Records of a large commit: more than the store writes row by row.
const BULK: u64 = 1100;

/// How commits look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Groups of one to four, each with a few rows.
    Small,
    /// Hundreds of middling and large records, all of them rows of one batch.
    Wide,
    /// More records than the store writes as rows: they are packed, ahead of the batch that counts them in.
    Bulk,
}

/// Commits for ever, acknowledging each group by the number of its last commit.
pub(crate) fn write(disk: &Path, shape: Shape, durable: bool, mut acks: Acks) -> Result<Infallible, String> {
    let mut store = open(disk, durable)?;
    let term = store.new_term().map_err(said)?;
    tell(&mut acks, &format!("term {}", term.0))?;
    let mut last = store.meta().seq.0;
    loop {
        let group: Vec<Commit> = (last + 1..=group_end(last, shape)).map(|n| commit(n, shape, term)).collect();
        let Seq(now) = store.commit(&group).map_err(said)?;
        tell(&mut acks, &format!("commit {now}"))?;
        if now / PRUNE_EVERY > last / PRUNE_EVERY {
            store.prune(Seq(now - KEPT), Seq(now - KEPT)).map_err(said)?;
        }
        last = now;
    }
}

/// Compares what is left with what the commits up to its last one add up to.
pub(crate) fn verify(copy: &Path, shape: Shape, acknowledged: &[String]) -> Result<(), String> {
    let store = open(copy, true)?;
    let meta = store.meta();
    let newest = |word: &str| {
        let numbers = acknowledged.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse::<u64>().ok());
        numbers.max().unwrap_or(0)
    };
    let last = meta.seq.0;
    if last < newest("commit") || meta.term.0 < newest("term") {
        let (commit, term) = (newest("commit"), newest("term"));
        return Err(format!(
            "acknowledged: commit {commit} in term {term}, found: commit {last} in term {}",
            meta.term.0
        ));
    }
    let mut boundary = 0;
    while boundary < last {
        boundary = group_end(boundary, shape);
    }
    if boundary != last {
        return Err(format!("a torn group: commit {last} is inside the one that ends at {boundary}"));
    }
    let mut expected = BTreeMap::new();
    for n in 1..=last {
        expected.extend(records(n, shape).into_iter().map(|record| (record.key(), record)));
        removed(n, shape).iter().for_each(|key| drop(expected.remove(key)));
    }
    let mut found = BTreeMap::new();
    store.records(&mut |record| drop(found.insert(record.key(), record))).map_err(said)?;
    if let Some(key) = expected.keys().chain(found.keys()).find(|key| expected.get(key) != found.get(key)) {
        let (expected, found) = (slots(expected.get(key)), slots(found.get(key)));
        return Err(format!("after commit {last}, {key:?} should be of commit {expected:?} and is of {found:?}"));
    }
    history(&store, meta.first.0, last)
}

/// Every fact and reply from `first` on is there.
fn history(store: &SledStore, first: u64, last: u64) -> Result<(), String> {
    let reader = store.reader();
    let facts = reader.facts(Seq(first - 1), usize::MAX).map_err(said)?.facts;
    if facts != (first..=last).map(|n| (Seq(n), fact(n))).collect::<Vec<_>>() {
        return Err(format!("facts {first} to {last} are not as committed: {} found", facts.len()));
    }
    for n in first..=last {
        let (key, reply) = answer(n);
        if reader.reply(&key).map_err(said)? != Some(reply) {
            return Err(format!("the reply of commit {n} is lost"));
        }
    }
    Ok(())
}

pub(crate) fn open(dir: &Path, durable: bool) -> Result<SledStore, String> {
    let sync = if durable { SyncPolicy::Durable } else { SyncPolicy::FlushOnly };
    SledStore::open(&dir.join("store"), SledOptions { sync }).map_err(said)
}

pub(crate) fn said(error: StoreError) -> String {
    format!("the store: {error}")
}

pub(crate) fn tell(acks: &mut Acks, line: &str) -> Result<(), String> {
    acks.say(line).map_err(|error| format!("cannot acknowledge: {error}"))
}

/// The last commit of the group after commit `last`: one to four small commits, or a large one.
fn group_end(last: u64, shape: Shape) -> u64 {
    last + if shape == Shape::Small { 1 + last % 4 } else { 1 }
}

fn commit(n: u64, shape: Shape, term: Term) -> Commit {
    Commit {
        term,
        expected_seq: Seq(n - 1),
        replies: vec![answer(n)],
        facts: vec![fact(n)],
        records: records(n, shape),
        removed: removed(n, shape),
        ..Commit::default()
    }
}

fn fact(n: u64) -> Fact {
    // The only kind of fact whose content is a number and a name.
    let kind = FactKind::TasksAdded { project: name("p", n), plan: n as u32, tasks: Vec::new() };
    Fact { at: Timestamp(n), kind }
}

fn answer(n: u64) -> (RequestKey, StoredReply) {
    let body = n.to_be_bytes();
    let key = RequestKey::new(&format!("request-{n}")).unwrap();
    (key, StoredReply { body_hash: body_hash(&body), reply: body.to_vec() })
}

/// Two or three of a hundred records of up to 12 KiB, or a good part of fifteen hundred.
fn records(n: u64, shape: Shape) -> Vec<Record> {
    let record = |host: u64, size: u64| {
        let text = format!("{n:08}").repeat(size as usize / 8);
        Record::Host(HostRecord { host: name("h", host), slots: n as u32, secrets: vec![text], quarantine: None })
    };
    match shape {
        Shape::Small => (0..2 + n % 2).map(|i| record((n * 31 + i * 17) % 100, 40 << (n % 9))).collect(),
        Shape::Wide => (0..200 + n % 5 * 60).map(|i| record((n * 501 + i) % 1500, 200 + i * 37 % 9000)).collect(),
        Shape::Bulk => (0..BULK + n % 4 * 100).map(|i| record((n * 501 + i) % 1500, 200 + i * 37 % 3500)).collect(),
    }
}

fn removed(n: u64, shape: Shape) -> Vec<RecordKey> {
    let key = |host| RecordKey::Host(name("h", host));
    match shape {
        Shape::Small => n.is_multiple_of(5).then(|| key(n / 5 % 100)).into_iter().collect(),
        Shape::Wide | Shape::Bulk => (0..40).map(|i| key((n * 7 + i * 11) % 1500)).collect(),
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(letter: &str, number: u64) -> T {
    format!("{letter}{number}").parse().unwrap()
}

fn slots(record: Option<&Record>) -> Option<u32> {
    match record {
        Some(Record::Host(host)) => Some(host.slots),
        _ => None,
    }
}
