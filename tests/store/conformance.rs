//! One suite for every backend: what [`Store`] promises.

use devstack::store::{Commit, InstallationLabel, MAX_RECORD, MemoryStore, Packed, Seq, Store, StoreError, Term};
use devstack_dag::{ids::Timestamp, record::Record};

use crate::sample::*;

/// A backend under test; the disk is reopened where the suite says so.
trait Backend {
    fn store(&mut self) -> &mut dyn Store;
    fn reopen(&mut self);
}

struct Memory(MemoryStore);
impl Backend for Memory {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.0
    }
    fn reopen(&mut self) {}
}

struct Disk {
    dir: tempfile::TempDir,
    store: Option<devstack::store::SledStore>,
}
impl Backend for Disk {
    fn store(&mut self) -> &mut dyn Store {
        self.store.as_mut().unwrap()
    }
    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path()));
    }
}

fn memory() -> Memory {
    Memory(MemoryStore::new(InstallationLabel([7; 16])))
}

fn disk() -> Disk {
    let dir = tempfile::tempdir().unwrap();
    let store = Some(open(dir.path()));
    Disk { dir, store }
}

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $name() { super::$name(&mut super::memory()) })* }
        mod on_disk { $(#[test] fn $name() { super::$name(&mut super::disk()) })* }
    };
}

conformance!(
    a_new_store_is_empty,
    a_commit_is_there_after_reopening,
    a_group_is_numbered_through,
    a_wrong_sequence_writes_nothing,
    a_wrong_sequence_late_in_a_group_writes_nothing,
    an_old_term_writes_nothing,
    terms_grow_and_stay,
    the_last_copy_of_a_record_counts,
    removed_records_are_gone,
    a_large_commit_is_there_after_reopening,
    updates_and_removals_after_a_large_commit_count,
    a_large_commit_overtakes_single_records,
    packed_records_count_like_others,
    a_record_too_large_refuses_the_group,
    a_large_commit_with_one_record_too_large_writes_nothing,
    replies_are_kept_with_their_commit,
    facts_come_in_pages,
    facts_out_of_range_are_refused,
    pruned_facts_and_replies_are_gone,
    the_time_never_runs_back,
    a_store_in_use_refuses_a_restore,
);

fn records(backend: &mut dyn Backend) -> Vec<Record> {
    sorted(backend.store().load().unwrap().records)
}

/// The numbers of all facts kept.
fn history(backend: &mut dyn Backend) -> Vec<u64> {
    let meta = backend.store().meta();
    let page = backend.store().reader().facts(Seq(meta.first.0 - 1), usize::MAX).unwrap();
    assert_eq!(page.last, meta.seq);
    page.facts.iter().map(|(seq, _)| seq.0).collect()
}

fn a_new_store_is_empty(backend: &mut dyn Backend) {
    let loaded = backend.store().load().unwrap();
    assert_eq!((loaded.meta.seq, loaded.meta.first, loaded.meta.term), (Seq(0), Seq(1), Term(0)));
    assert!(loaded.records.is_empty());
    backend.reopen();
    assert_eq!(backend.store().load().unwrap(), loaded, "the label and all else stay");
    assert_eq!(history(backend), Vec::<u64>::new());
}

fn a_commit_is_there_after_reopening(backend: &mut dyn Backend) {
    let commit = Commit {
        records: vec![Record::Task(Box::new(full_task())), host("h1", 3)],
        replies: vec![(request("r1"), reply("body", "answer"))],
        ..step(0, 1)
    };
    assert_eq!(backend.store().commit(std::slice::from_ref(&commit)).unwrap(), Seq(1));
    for _ in 0..2 {
        assert_eq!(records(backend), sorted(commit.records.clone()));
        let reader = backend.store().reader();
        assert_eq!(reader.facts(Seq(0), 10).unwrap().facts, [(Seq(1), commit.facts[0].clone())]);
        assert_eq!(reader.reply(&request("r1")).unwrap(), Some(reply("body", "answer")));
        drop(reader);
        assert_eq!(backend.store().meta().last_time, Timestamp(1));
        backend.reopen();
    }
}

fn a_group_is_numbered_through(backend: &mut dyn Backend) {
    let group = [step(0, 1), step(1, 2), Commit { expected_seq: Seq(2), ..Commit::default() }, step(2, 3)];
    assert_eq!(backend.store().commit(&group).unwrap(), Seq(3));
    assert_eq!(history(backend), [1, 2, 3]);
    assert_eq!(records(backend).len(), 3);
}

fn a_wrong_sequence_writes_nothing(backend: &mut dyn Backend) {
    backend.store().commit(&[step(0, 1)]).unwrap();
    for expected in [0, 2] {
        let error = backend.store().commit(&[step(expected, 2)]).unwrap_err();
        assert!(matches!(error, StoreError::WrongSequence { expected: Seq(1), .. }), "{error}");
        assert!(error.is_refusal());
    }
    backend.reopen();
    assert_eq!(records(backend), [task_record(1)]);
    assert_eq!(history(backend), [1]);
}

fn a_wrong_sequence_late_in_a_group_writes_nothing(backend: &mut dyn Backend) {
    assert!(backend.store().commit(&[step(0, 1), step(0, 2)]).is_err());
    assert!(records(backend).is_empty());
    assert_eq!(history(backend), Vec::<u64>::new());
}

fn an_old_term_writes_nothing(backend: &mut dyn Backend) {
    assert_eq!(backend.store().new_term().unwrap(), Term(1));
    let error = backend.store().commit(&[step(0, 1)]).unwrap_err();
    assert!(matches!(error, StoreError::StaleTerm { expected: Term(1), found: Term(0) }), "{error}");
    assert!(error.is_refusal());
    assert!(records(backend).is_empty());
    backend.store().commit(&[Commit { term: Term(1), ..step(0, 1) }]).unwrap();
}

fn terms_grow_and_stay(backend: &mut dyn Backend) {
    assert_eq!(backend.store().new_term().unwrap(), Term(1));
    backend.reopen();
    assert_eq!(backend.store().new_term().unwrap(), Term(2));
    backend.reopen();
    assert_eq!(backend.store().meta().term, Term(2));
}

fn the_last_copy_of_a_record_counts(backend: &mut dyn Backend) {
    let commit = Commit { records: vec![updated(1, 1), updated(1, 2)], ..step(0, 1) };
    backend.store().commit(&[commit]).unwrap();
    assert_eq!(records(backend), [updated(1, 2)]);
    let group = [3, 4].map(|attempts| Commit {
        expected_seq: Seq(1),
        records: vec![updated(1, attempts)],
        ..Commit::default()
    });
    backend.store().commit(&group).unwrap();
    backend.reopen();
    assert_eq!(records(backend), [updated(1, 4)]);
}

fn removed_records_are_gone(backend: &mut dyn Backend) {
    let commit = Commit { records: vec![host("a", 1), host("b", 1), host("c", 1)], ..Commit::default() };
    backend.store().commit(&[commit]).unwrap();
    let commit = Commit {
        records: vec![host("b", 2), host("c", 2)],
        removed: vec![host_key("a"), host_key("c"), host_key("never")],
        ..Commit::default()
    };
    backend.store().commit(&[commit]).unwrap();
    assert_eq!(records(backend), [host("b", 2)], "removal comes after the records of the same commit");
    backend.store().commit(&[Commit { records: vec![host("a", 3)], ..Commit::default() }]).unwrap();
    backend.reopen();
    assert_eq!(records(backend), [host("a", 3), host("b", 2)]);
}

const LARGE: usize = 3_000;

fn a_large_commit_is_there_after_reopening(backend: &mut dyn Backend) {
    backend.store().commit(&[step(0, 1), plan(Seq(1), LARGE)]).unwrap();
    for _ in 0..2 {
        assert_eq!(records(backend), (0..LARGE).map(task_record).collect::<Vec<_>>());
        assert_eq!(history(backend), (1..=1 + (LARGE / TASKS_A_FACT) as u64).collect::<Vec<_>>());
        backend.reopen();
    }
}

fn updates_and_removals_after_a_large_commit_count(backend: &mut dyn Backend) {
    backend.store().commit(&[plan(Seq(0), LARGE)]).unwrap();
    let mut expected: Vec<Record> = (0..LARGE).map(task_record).collect();
    let mut attempts = 0;
    // More and more is overtaken, up to everything: the disk clears its chunks at every reopening.
    for share in [50, 3, 2, 1] {
        attempts += 1;
        let numbers: Vec<usize> = (0..LARGE).filter(|number| number % share == 0).collect();
        for some in numbers.chunks(500) {
            let commit = Commit {
                expected_seq: backend.store().meta().seq,
                records: some.iter().map(|number| updated(*number, attempts)).collect(),
                ..Commit::default()
            };
            backend.store().commit(&[commit]).unwrap();
        }
        for number in numbers {
            expected[number] = updated(number, attempts);
        }
        assert_eq!(records(backend), expected, "before reopening, share {share}");
        backend.reopen();
        assert_eq!(records(backend), expected, "after reopening, share {share}");
    }
    let removed = Commit {
        expected_seq: backend.store().meta().seq,
        removed: (0..LARGE - 1).map(task_key).collect(),
        ..Commit::default()
    };
    backend.store().commit(&[removed]).unwrap();
    for _ in 0..2 {
        assert_eq!(records(backend), [updated(LARGE - 1, attempts)]);
        backend.reopen();
    }
}

fn a_large_commit_overtakes_single_records(backend: &mut dyn Backend) {
    let gone = Commit { removed: vec![task_key(2)], expected_seq: Seq(1), ..Commit::default() };
    let single = Commit { records: vec![updated(1, 9), updated(2, 9)], ..step(0, 1) };
    let late = Commit { removed: vec![task_key(5)], expected_seq: Seq(31), ..Commit::default() };
    let mut twice = plan(Seq(1), LARGE);
    twice.records.push(updated(7, 9));
    twice.removed.push(task_key(6));
    backend.store().commit(&[single]).unwrap();
    backend.store().commit(&[gone, twice, late]).unwrap();
    let mut expected: Vec<Record> = (0..LARGE).map(task_record).collect();
    expected[7] = updated(7, 9);
    expected.drain(5..7);
    for _ in 0..3 {
        assert_eq!(records(backend), expected);
        backend.reopen();
    }
}

fn packed_records_count_like_others(backend: &mut dyn Backend) {
    let mut commit = Commit { records: vec![updated(7, 9)], removed: vec![task_key(6)], ..step(0, 1) };
    for number in 0..LARGE {
        assert!(commit.packed.push(&task_record(number)));
    }
    assert!(!commit.packed.push(&task_record(3)), "each once, in order");
    assert!(!commit.packed.push(&heavy(LARGE, MAX_RECORD)), "the store says what is wrong with it");
    let later = Commit { records: vec![updated(8, 1)], removed: vec![task_key(9)], ..step(1, 1) };
    backend.store().commit(&[commit, later]).unwrap();
    let mut expected: Vec<Record> = (0..LARGE).map(task_record).collect();
    expected[7] = updated(7, 9);
    expected[8] = updated(8, 1);
    expected.remove(9);
    expected.remove(6);
    for _ in 0..3 {
        assert_eq!(records(backend), expected);
        backend.reopen();
    }
    let mut again = Commit { records: Vec::new(), ..step(2, 1) };
    again.packed = (0..2).map(|number| updated(number, 5)).fold(Packed::default(), |mut packed, record| {
        assert!(packed.push(&record));
        packed
    });
    backend.store().commit(&[again]).unwrap();
    backend.reopen();
    expected[..2].clone_from_slice(&[updated(0, 5), updated(1, 5)]);
    assert_eq!(records(backend), expected, "newer chunks overtake older ones");
}

fn a_record_too_large_refuses_the_group(backend: &mut dyn Backend) {
    let fits = Commit { records: vec![heavy(1, MAX_RECORD - 500)], ..Commit::default() };
    backend.store().commit(std::slice::from_ref(&fits)).unwrap();
    let record = Commit { records: vec![heavy(2, MAX_RECORD)], expected_seq: Seq(1), ..Commit::default() };
    let fact = Commit { facts: vec![added(1, 0..1000)], ..Commit::default() };
    let answer = "x".repeat(MAX_RECORD);
    let large_reply = Commit { replies: vec![(request("r"), reply("b", &answer))], ..Commit::default() };
    for group in [vec![step(0, 3), record], vec![fact], vec![large_reply]] {
        let error = backend.store().commit(&group).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { .. }) && error.is_refusal(), "{error}");
        assert_eq!(records(backend), fits.records);
        assert_eq!(history(backend), Vec::<u64>::new());
    }
    backend.reopen();
    assert_eq!(records(backend), fits.records);
}

fn a_large_commit_with_one_record_too_large_writes_nothing(backend: &mut dyn Backend) {
    // So many that the disk applies some of it before it meets the one that does not fit (it begins at the end).
    let mut commit = plan(Seq(0), 30_000);
    commit.records.insert(0, heavy(30_000, MAX_RECORD));
    assert!(backend.store().commit(&[commit]).unwrap_err().is_refusal());
    assert!(records(backend).is_empty());
    assert_eq!(history(backend), Vec::<u64>::new());
    backend.store().commit(&[step(0, 1)]).unwrap();
    for _ in 0..2 {
        assert_eq!(records(backend), [task_record(1)]);
        assert_eq!(history(backend), [1]);
        backend.reopen();
    }
}

fn replies_are_kept_with_their_commit(backend: &mut dyn Backend) {
    let with = |key: &str, expected| Commit {
        replies: vec![(request(key), reply("body", key))],
        ..step(expected, expected as usize)
    };
    backend.store().commit(&[with("a", 0)]).unwrap();
    assert!(backend.store().commit(&[with("b", 5)]).is_err());
    let mut found = Vec::new();
    backend.store().replies(&mut |key, reply| found.push((key, reply))).unwrap();
    assert_eq!(found, [(request("a"), reply("body", "a"))]);
    assert_eq!(backend.store().reader().reply(&request("b")).unwrap(), None);
}

fn facts_come_in_pages(backend: &mut dyn Backend) {
    let group: Vec<Commit> = (0..10).map(|number| step(number, number as usize)).collect();
    backend.store().commit(&group).unwrap();
    let reader = backend.store().reader();
    let page = |after, limit| {
        let page = reader.facts(Seq(after), limit).unwrap();
        assert_eq!(page.last, Seq(10));
        page.facts.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 4), [1, 2, 3, 4]);
    assert_eq!(page(8, 4), [9, 10]);
    assert_eq!(page(10, 4), Vec::<u64>::new());
    assert_eq!(page(3, 0), Vec::<u64>::new());
}

fn facts_out_of_range_are_refused(backend: &mut dyn Backend) {
    backend.store().commit(&[step(0, 1)]).unwrap();
    let error = backend.store().reader().facts(Seq(2), 1).unwrap_err();
    assert!(matches!(error, StoreError::OutOfRange { first: Seq(1), last: Seq(1), .. }), "{error}");
}

fn pruned_facts_and_replies_are_gone(backend: &mut dyn Backend) {
    for number in 0..10 {
        let key = format!("r{number}");
        let replies = vec![(request(&key), reply("b", &key))];
        backend.store().commit(&[Commit { replies, ..step(number, number as usize) }]).unwrap();
    }
    backend.store().prune(Seq(8), Seq(5)).unwrap();
    for _ in 0..2 {
        assert_eq!(history(backend), [8, 9, 10]);
        let reader = backend.store().reader();
        assert!(matches!(reader.facts(Seq(6), 5), Err(StoreError::OutOfRange { first: Seq(8), .. })));
        assert!(reader.facts(Seq(7), 5).is_ok());
        // The reply of number 3 came with fact 4, the one of number 4 with fact 5.
        assert_eq!(reader.reply(&request("r3")).unwrap(), None);
        assert!(reader.reply(&request("r4")).unwrap().is_some());
        drop(reader);
        backend.reopen();
    }
    assert_eq!(records(backend).len(), 10, "records stay");
    backend.store().prune(Seq(3), Seq(0)).unwrap();
    assert_eq!(history(backend), [8, 9, 10], "the horizon never moves back");
    backend.store().prune(Seq(99), Seq(0)).unwrap();
    assert_eq!(history(backend), Vec::<u64>::new());
    backend.store().commit(&[step(10, 1)]).unwrap();
    assert_eq!(history(backend), [11]);
}

fn the_time_never_runs_back(backend: &mut dyn Backend) {
    let at =
        |expected: u64, at| Commit { expected_seq: Seq(expected), facts: vec![added(at, 0..1)], ..Commit::default() };
    backend.store().commit(&[at(0, 50), at(1, 40)]).unwrap();
    backend.store().commit(&[at(2, 30)]).unwrap();
    backend.reopen();
    assert_eq!(backend.store().meta().last_time, Timestamp(50));
}

fn a_store_in_use_refuses_a_restore(backend: &mut dyn Backend) {
    backend.store().commit(&[step(0, 1)]).unwrap();
    let meta = backend.store().meta();
    let error = backend.store().restore(&meta, &step(0, 2)).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty), "{error}");
    assert_eq!(records(backend), [task_record(1)]);
}
