//! Blobs: kept under their digest, checked when read, swept when unnamed.

use std::collections::HashSet;

use devstack::store::{BlobError, Blobs};
use devstack_dag::ids::{BlobId, Text};

fn files(dir: &tempfile::TempDir) -> usize {
    std::fs::read_dir(dir.path()).unwrap().count()
}

#[test]
fn what_is_put_is_had_again_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let ids = blobs.put_all(&[b"one", b"two", b"one"]).unwrap();
    assert_eq!(ids[0], ids[2]);
    assert_eq!(blobs.put(b"one").unwrap(), ids[0]);
    assert_eq!(files(&dir), 2);
    let blobs = Blobs::open(dir.path()).unwrap();
    assert_eq!(blobs.get(ids[1], 3).unwrap(), b"two");
    assert!(matches!(blobs.get(ids[1], 2), Err(BlobError::TooLarge { size: 3, max: 2, .. })));
    assert!(matches!(blobs.get(BlobId([0; 32]), 9), Err(BlobError::Missing(_))));
}

#[test]
fn a_damaged_blob_is_found_and_a_cut_one_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let id = blobs.put(b"payload").unwrap();
    let path = dir.path().join(id.to_string());
    std::fs::write(&path, b"paYload").unwrap();
    assert!(matches!(blobs.get(id, 99), Err(BlobError::Damaged(_))));
    std::fs::write(&path, b"pay").unwrap();
    blobs.put(b"payload").unwrap();
    assert_eq!(blobs.get(id, 99).unwrap(), b"payload");
}

#[test]
fn short_texts_are_inline_and_long_ones_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    let short = "ä".repeat(Text::INLINE_MAX / 2);
    let long = format!("{short}.");
    let texts = [&short, &long].map(|text| blobs.text(text).unwrap());
    assert!(matches!(&texts[0], Text::Inline(text) if **text == *short));
    assert!(matches!(texts[1], Text::Blob(_, size) if size == long.len() as u64));
    assert_eq!(blobs.read_text(&texts[0], 9_999).unwrap(), short);
    assert_eq!(blobs.read_text(&texts[1], 9_999).unwrap(), long);
    let id = blobs.put(&[0xff]).unwrap();
    assert!(matches!(blobs.read_text(&Text::Blob(id, 1), 9), Err(BlobError::NotText(_))));
}

#[test]
fn a_sweep_keeps_the_named_and_removes_unfinished_files() {
    let dir = tempfile::tempdir().unwrap();
    let ids = Blobs::open(dir.path()).unwrap().put_all(&[b"keep", b"drop"]).unwrap();
    std::fs::write(dir.path().join("tmp-1-1"), b"half").unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    assert_eq!(blobs.sweep(&HashSet::from([ids[0]])).unwrap(), 2);
    assert_eq!(blobs.get(ids[0], 9).unwrap(), b"keep");
    assert!(matches!(blobs.get(ids[1], 9), Err(BlobError::Missing(_))));
    assert_eq!(files(&dir), 1);
}

#[test]
fn what_was_put_since_the_sweep_before_the_last_stays_for_the_fact_that_is_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let old = Blobs::open(dir.path()).unwrap().put(b"put again").unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    // One that was there already, and one that is new: neither is named yet.
    let young = blobs.put_all(&[b"put again", b"new"]).unwrap();
    assert_eq!(young[0], old);
    let nothing = HashSet::new();
    assert_eq!(blobs.sweep(&nothing).unwrap(), 0);
    blobs.put(b"new").unwrap();
    assert_eq!(blobs.sweep(&nothing).unwrap(), 0);
    assert_eq!(blobs.sweep(&nothing).unwrap(), 1);
    assert_eq!(blobs.get(young[1], 9).unwrap(), b"new");
    assert_eq!(blobs.sweep(&nothing).unwrap(), 1);
    assert_eq!(files(&dir), 0);
}

#[test]
fn a_sweep_beside_puts_takes_none_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let payload = |n: u32| n.to_le_bytes().repeat(1_000);
    let all: Vec<u32> = (0..48).collect();
    Blobs::open(dir.path())
        .unwrap()
        .put_all(&all.iter().map(|&n| payload(n)).collect::<Vec<_>>().iter().map(Vec::as_slice).collect::<Vec<_>>())
        .unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| blobs.sweep(&HashSet::new()).unwrap());
        for &n in &all {
            let id = blobs.put(&payload(n)).unwrap();
            assert_eq!(blobs.get(id, 4_000).unwrap(), payload(n));
        }
    });
    for n in all {
        blobs.get(BlobId(*blake3::hash(&payload(n)).as_bytes()), 4_000).unwrap();
    }
}

#[test]
fn puts_of_the_same_payload_from_many_threads_agree() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..20u8).for_each(|n| assert!(blobs.put(&[n; 5000]).is_ok())));
        }
    });
    assert_eq!(files(&dir), 20);
}
