//! Export and import: everything comes back, anything damaged is named by its line.

use devstack::store::{Commit, InstallationLabel, MemoryStore, Seq, Store, StoreError, TransferError, export, import};
use devstack_dag::record::Record;

use crate::sample::*;

fn filled(store: &mut dyn Store) {
    store.new_term().unwrap();
    let term = store.meta().term;
    let large = Commit { term, ..plan(Seq(0), 2_000) };
    let seq = large.seq_after();
    let replies = vec![(request("r"), reply("body", "answer"))];
    let small =
        Commit { term, replies, records: vec![Record::Task(Box::new(full_task())), host("h", 2)], ..step(seq.0, 1) };
    store.commit(&[large, small]).unwrap();
    store.prune(Seq(5), Seq(0)).unwrap();
}

fn exported(store: &dyn Store) -> Vec<u8> {
    let mut out = Vec::new();
    export(store, &mut out).unwrap();
    out
}

fn empty() -> MemoryStore {
    MemoryStore::new(InstallationLabel([1; 16]))
}

#[test]
fn everything_comes_back_from_disk_to_disk_and_memory() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut source = open(from.path());
    filled(&mut source);
    let lines = exported(&source);
    let mut memory = empty();
    import(&mut memory, &mut lines.as_slice()).unwrap();
    let mut disk = open(to.path());
    import(&mut disk, &mut lines.as_slice()).unwrap();
    drop(disk);
    let disk = open(to.path());
    for target in [&memory as &dyn Store, &disk] {
        assert_eq!(target.meta(), source.meta());
        assert_eq!(sorted(target.load().unwrap().records), sorted(source.load().unwrap().records));
        let facts = |store: &dyn Store| store.reader().facts(Seq(4), usize::MAX).unwrap();
        assert_eq!(facts(target), facts(&source));
        assert_eq!(target.reader().reply(&request("r")).unwrap(), Some(reply("body", "answer")));
    }
}

#[test]
fn only_an_empty_store_is_filled() {
    let mut store = empty();
    filled(&mut store);
    let lines = exported(&store);
    let error = import(&mut store, &mut lines.as_slice()).unwrap_err();
    assert!(matches!(error, TransferError::Store(StoreError::NotEmpty)), "{error}");
}

#[test]
fn damage_is_named_by_its_line_and_nothing_is_imported() {
    let mut store = empty();
    filled(&mut store);
    let text = String::from_utf8(exported(&store)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    let replaced = |number: usize, line: &str| {
        let mut lines = lines.clone();
        lines[number - 1] = line;
        join(&lines)
    };
    let without = |number: usize| {
        let mut lines = lines.clone();
        lines.remove(number - 1);
        join(&lines)
    };
    let huge = "x".repeat(2 << 20);
    let damaged = [
        (replaced(3, &lines[2][..lines[2].len() / 2]), 3),
        (replaced(20, r#"{"record":{"Unknown":1}}"#), 20),
        (replaced(1, &lines[0].replace(r#""format":1"#, r#""format":2"#)), 1),
        (replaced(2, &huge), 2),
        (without(1), 1),
        (without(2), 2),
        (without(last - 1), last - 1),
        (without(last), last),
        (join(&lines[..last / 2]), last / 2 + 1),
        (text.clone() + lines[5] + "\n", last + 1),
        (String::new(), 1),
    ];
    for (number, (text, line)) in damaged.into_iter().enumerate() {
        let mut target = empty();
        let error = import(&mut target, &mut text.as_bytes()).unwrap_err();
        let expected = line as u64;
        assert!(matches!(error, TransferError::BadLine { line, .. } if line == expected), "case {number}: {error}");
        assert!(error.to_string().contains(&format!("line {line} ")), "{error}");
        assert!(target.load().unwrap().records.is_empty());
    }
}
