//! The journal: order, grouping, barriers, and the end at the first error.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use devstack::store::{
    Closed, Commit, Entry, InstallationLabel, Journal, JournalConfig, Lookup, MemoryStore, Seq, Store, StoreError,
    body_hash,
};

use crate::{
    faulty::{Fault, Faulty, Gated},
    sample::*,
};

fn memory() -> MemoryStore {
    MemoryStore::new(InstallationLabel([1; 16]))
}

fn spawn(store: impl Store + 'static) -> Journal {
    Journal::spawn(Box::new(store), JournalConfig::default(), |error| panic!("fatal: {error}")).unwrap()
}

/// The next message; a journal that sends none is broken, not slow.
fn soon<T>(messages: &Receiver<T>) -> T {
    messages.recv_timeout(Duration::from_secs(60)).expect("nothing came")
}

fn silent(commit: Commit) -> Entry {
    Entry { commit, then: Box::new(|_| {}) }
}

#[test]
fn completions_come_in_order_and_after_the_commit_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    let journal = spawn(open(dir.path()));
    let reader = journal.reader();
    let (said, heard) = channel();
    for number in 0..50 {
        let (said, reader) = (said.clone(), reader.clone());
        let then = Box::new(move |seq: Seq| {
            assert!(reader.facts(Seq(seq.0 - 1), 1).is_ok_and(|page| page.last >= seq));
            said.send(seq.0).unwrap();
        });
        journal.submit(Entry { commit: step(number, number as usize), then }).unwrap();
    }
    assert_eq!(heard.iter().take(50).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    drop(reader);
    drop(journal.close().unwrap());
    assert_eq!(open(dir.path()).meta().seq, Seq(50));
}

/// A journal over a gated store, with a first group of one commit waiting at the gate.
fn gated(config: JournalConfig) -> (Journal, Receiver<Vec<Commit>>, Sender<()>) {
    let ((asked, groups), (leave, gate)) = (channel(), channel());
    let store = Gated { inner: memory(), asked, leave: gate };
    let journal = Journal::spawn(Box::new(store), config, |error| panic!("fatal: {error}")).unwrap();
    journal.submit(silent(step(0, 0))).unwrap();
    assert_eq!(soon(&groups).len(), 1, "a lonely commit waits for no company");
    (journal, groups, leave)
}

#[test]
fn what_comes_during_a_sync_is_committed_as_one_group() {
    let (journal, groups, leave) = gated(JournalConfig::default());
    (1..21).for_each(|number| journal.submit(silent(step(number, 1))).unwrap());
    (0..2).for_each(|_| leave.send(()).unwrap());
    assert_eq!(soon(&groups).len(), 20);
    assert_eq!(journal.close().unwrap().meta().seq, Seq(21));
}

#[test]
fn a_group_stays_within_its_limits() {
    let config = JournalConfig { max_entries: 8, max_rows: 10, ..JournalConfig::default() };
    let (journal, groups, leave) = gated(config);
    (1..13).for_each(|number| journal.submit(silent(step(number, 1))).unwrap());
    (12..22).for_each(|_| journal.submit(silent(Commit { expected_seq: Seq(13), ..Commit::default() })).unwrap());
    (0..6).for_each(|_| leave.send(()).unwrap());
    // Two rows a step: five steps; then two more with six empty ones; then what is left.
    let sizes: Vec<usize> = groups.iter().take(4).map(|group| group.len()).collect();
    assert_eq!(sizes, [5, 5, 8, 4]);
    journal.close().unwrap();
}

#[test]
fn a_barrier_waits_for_all_before_it() {
    let (journal, groups, leave) = gated(JournalConfig::default());
    journal.submit(silent(step(1, 1))).unwrap();
    let (said, heard) = channel();
    let reader = journal.reader();
    journal.barrier(move || said.send(reader.facts(Seq(0), 9).unwrap().last).unwrap()).unwrap();
    leave.send(()).unwrap();
    soon(&groups);
    assert!(heard.try_recv().is_err(), "the second commit is still at the gate");
    leave.send(()).unwrap();
    assert_eq!(soon(&heard), Seq(2));
    // With nothing to commit it is answered at once.
    let (said, heard) = channel();
    journal.barrier(move || said.send(()).unwrap()).unwrap();
    soon(&heard);
    journal.close().unwrap();
}

#[test]
fn a_repeated_request_is_recognised_before_and_after_its_commit() {
    let (journal, groups, leave) = gated(JournalConfig::default());
    let look = |journal: &Journal, body: &str| journal.lookup(&request("r"), &body_hash(body.as_bytes())).unwrap();
    assert_eq!(look(&journal, "body"), Lookup::New);
    let replies = vec![(request("r"), reply("body", "answer"))];
    journal.submit(silent(Commit { replies, ..step(1, 1) })).unwrap();
    let judged = |journal: &Journal| {
        assert_eq!(look(journal, "body"), Lookup::Replay("answer".into()));
        assert_eq!(look(journal, "other"), Lookup::Conflict);
    };
    judged(&journal);
    (0..2).for_each(|_| leave.send(()).unwrap());
    soon(&groups);
    let (said, heard) = channel();
    journal.barrier(move || said.send(()).unwrap()).unwrap();
    soon(&heard);
    judged(&journal);
    journal.close().unwrap();
}

#[test]
fn pruning_goes_through_the_queue() {
    let journal = spawn(memory());
    (0..5).for_each(|number| journal.submit(silent(step(number, 1))).unwrap());
    journal.prune(Seq(4), Seq(0)).unwrap();
    journal.submit(silent(step(5, 1))).unwrap();
    let meta = journal.close().unwrap().meta();
    assert_eq!((meta.first, meta.seq), (Seq(4), Seq(6)));
}

/// After the fault: told once, nothing acknowledged, everything closed.
fn ends_at(fault: Fault, why: &str) {
    let (fatal, reasons) = channel();
    let (said, heard) = channel();
    let store = Faulty::new(memory(), fault, 2);
    let on_fatal = move |error: StoreError| fatal.send(error.to_string()).unwrap();
    let journal = Journal::spawn(Box::new(store), JournalConfig::default(), on_fatal).unwrap();
    let acknowledge = |number: u64| {
        let said = said.clone();
        let then = Box::new(move |seq: Seq| said.send(seq).unwrap());
        journal.submit(Entry { commit: step(number, 1), then })
    };
    acknowledge(0).unwrap();
    assert_eq!(soon(&heard), Seq(1));
    // The second fails; whether the third is still taken depends on how soon.
    acknowledge(1).unwrap();
    let _ = acknowledge(2);
    assert!(soon(&reasons).contains(why));
    assert_eq!(acknowledge(3), Err(Closed));
    assert_eq!(journal.barrier(|| panic!("a barrier after the end")), Err(Closed));
    assert!(journal.close().is_err());
    drop(said);
    assert_eq!(heard.iter().count(), 0, "nothing is acknowledged after the fault");
    assert_eq!(reasons.iter().count(), 0, "told once");
}

#[test]
fn a_full_disk_ends_it() {
    ends_at(Fault::Full, "No space left on device");
}

#[test]
fn a_failed_sync_ends_it() {
    ends_at(Fault::Sync, "No space left on device");
}

#[test]
fn a_panic_ends_it() {
    ends_at(Fault::Panic, "a defect");
}

#[test]
fn a_wrong_sequence_ends_it() {
    let (fatal, reasons) = channel();
    let on_fatal = move |error| fatal.send(error).unwrap();
    let journal = Journal::spawn(Box::new(memory()), JournalConfig::default(), on_fatal).unwrap();
    journal.submit(silent(step(7, 1))).unwrap();
    assert!(matches!(soon(&reasons), StoreError::WrongSequence { .. }));
    assert!(journal.close().is_err());
}
