//! A damaged record is named and the store stays shut; a second node is told who has it open.

use devstack::store::{Commit, MAX_RECORD, Seq, SledOptions, SledStore, Store, StoreError};
use devstack_dag::record::Record;

use crate::sample::*;

/// Closes the store, lets `damage` change rows of the database directly, and says what opening it says then.
fn after(damage: impl FnOnce(&sled::Tree)) -> Result<Vec<Record>, StoreError> {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let commits = [step(0, 1), step(1, 2)];
    store.commit(&commits).unwrap();
    store.commit(&[plan(Seq(2), 1500)]).unwrap();
    drop(store);
    let db = database(dir.path());
    damage(&db);
    db.flush().unwrap();
    drop(db);
    SledStore::open(dir.path(), SledOptions::default())?.load().map(|loaded| loaded.records)
}

/// Changes one byte in the middle of the row under the first key with this prefix.
fn flip(prefix: &[u8]) -> impl FnOnce(&sled::Tree) {
    move |tree| {
        let (key, row) = tree.scan_prefix(prefix).next().unwrap().unwrap();
        let mut row = row.to_vec();
        let middle = row.len() / 2;
        row[middle] ^= 1;
        tree.insert(key, row).unwrap();
    }
}

fn refusal(damage: impl FnOnce(&sled::Tree)) -> String {
    let error = after(damage).map(|records| records.len()).expect_err("the damage goes unseen");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    error.to_string()
}

#[test]
fn an_untouched_store_opens() {
    assert_eq!(after(|_| {}).unwrap().len(), 1500);
}

#[test]
fn a_flipped_bit_names_what_it_hit() {
    assert!(refusal(flip(b"r")).contains("record Task(shop/T-000001)"), "{}", refusal(flip(b"r")));
    assert!(refusal(flip(b"f")).contains("fact 1 "));
    assert!(refusal(flip(b"h")).contains("the head row"));
    assert!(refusal(flip(b"c")).contains("chunk"));
}

#[test]
fn a_row_under_the_key_of_another_is_refused() {
    let error = refusal(|tree| {
        let rows: Vec<_> = tree.scan_prefix(b"f").take(2).map(Result::unwrap).collect();
        tree.insert(&rows[0].0, &rows[1].1).unwrap();
    });
    assert!(error.contains("fact 1 "), "{error}");
}

#[test]
fn a_missing_head_or_fact_is_refused() {
    assert!(refusal(|tree| drop(tree.remove(b"h").unwrap())).contains("the head row is damaged: it is missing"));
    assert!(
        refusal(|tree| drop(tree.remove([b"f".as_slice(), &2u64.to_be_bytes()].concat()).unwrap()))
            .contains("fact 2 is damaged: it is missing")
    );
}

#[test]
fn a_foreign_row_is_refused() {
    assert!(refusal(|tree| drop(tree.insert(b"z", b"what is this").unwrap())).contains("unknown key"));
}

#[test]
fn a_page_outside_sleds_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::write(dir.path().join("sled/blobs/1"), b"page").unwrap();
    let error = SledStore::open(dir.path(), SledOptions::default()).err().unwrap();
    assert!(error.to_string().contains("outside its log"), "{error}");
}

#[test]
fn full_pages_of_the_largest_rows_stay_in_sleds_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for number in 0..200 {
        // Some of them twice: pages are rewritten.
        let records = vec![heavy(number * 7 % 90, MAX_RECORD - 500)];
        store.commit(&[Commit { records, ..step(number as u64, number) }]).unwrap();
    }
    assert_eq!(std::fs::read_dir(dir.path().join("sled/blobs")).unwrap().count(), 0);
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = SledStore::open(dir.path(), SledOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_reader_keeps_the_store_held() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let reader = store.reader();
    drop(store);
    assert!(matches!(SledStore::open(dir.path(), SledOptions::default()), Err(StoreError::Held { .. })));
    drop(reader);
    open(dir.path());
}

#[test]
fn a_torn_snapshot_does_not_bar_the_open() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).commit(&[step(0, 1)]).unwrap();
    std::fs::write(dir.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating"), b"torn").unwrap();
    assert_eq!(open(dir.path()).load().unwrap().records, [task_record(1)]);
}

#[test]
fn a_database_never_finished_is_started_over() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::remove_file(dir.path().join("READY")).unwrap();
    std::fs::write(dir.path().join("sled/conf"), b"half a configuration").unwrap();
    open(dir.path()).commit(&[step(0, 1)]).unwrap();
    assert_eq!(open(dir.path()).load().unwrap().records, [task_record(1)]);
}

#[test]
fn what_a_crash_left_of_a_large_commit_never_counts() {
    let (crashed, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(crashed.path()).commit(&[step(0, 1)]).unwrap();
    open(whole.path()).commit(&[step(0, 1), plan(Seq(1), 1_500)]).unwrap();
    // The facts and chunks that are applied ahead of the head row, without the head row.
    let (from, to) = (database(whole.path()), database(crashed.path()));
    for row in from.scan_prefix(b"f").chain(from.scan_prefix(b"c")) {
        let (key, row) = row.unwrap();
        to.insert(key, row).unwrap();
    }
    to.flush().unwrap();
    drop((from, to));
    let mut store = open(crashed.path());
    assert_eq!(store.load().unwrap().records, [task_record(1)]);
    store.commit(&[step(1, 2)]).unwrap();
    assert_eq!(sorted(store.load().unwrap().records), [task_record(1), task_record(2)]);
    assert_eq!(store.reader().facts(Seq(0), 99).unwrap().facts.len(), 2);
    drop(store);
    assert_eq!(database(crashed.path()).scan_prefix(b"f").count(), 2);
}
