//! The store on a real disk: one durable commit beside a bare append with fdatasync, groups, bulk, start.
//!
//! `cargo bench --bench store`; scratch directories go where `TMPDIR` says: choose a real disk, not a tmpfs.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; a benchmark fails by panicking

use std::{hint::black_box, io::Write, path::Path};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use devstack::store::{Commit, Seq, Store};
use devstack_dag::record::Record;

#[allow(dead_code)] // the tests use more of it
#[path = "../tests/store/sample.rs"]
mod sample;
use sample::{added, open, plan, step, updated};

/// About what one small commit writes, in bytes.
const APPEND: usize = 700;
/// Tasks of the large plan: the size that the figures of the design speak of.
const BULK: usize = 100_000;

fn single(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut group = c.benchmark_group("commit");
    let mut raw = std::fs::File::create(dir.path().join("raw")).unwrap();
    group.bench_function("raw append + fdatasync", |b| {
        b.iter(|| {
            raw.write_all(&[1; APPEND]).unwrap();
            raw.sync_data().unwrap();
        });
    });
    let mut store = open(&dir.path().join("store"));
    let mut seq = 0;
    group.bench_function("one fact, one record", |b| {
        b.iter(|| {
            store.commit(&[step(seq, seq as usize % 1000)]).unwrap();
            seq += 1;
        });
    });
    group.bench_function("group of 100", |b| {
        b.iter(|| {
            let commits: Vec<Commit> = (seq..seq + 100).map(|at| step(at, at as usize * 31 % 1000)).collect();
            store.commit(&commits).unwrap();
            seq += 100;
        });
    });
    group.finish();
}

fn bulk(c: &mut Criterion) {
    let mut group = c.benchmark_group("100,000 tasks");
    group.sample_size(10);
    let commit = plan(Seq(0), BULK);
    group.bench_function("commit", |b| {
        b.iter_batched_ref(
            || {
                let dir = tempfile::tempdir().unwrap();
                (open(dir.path()), dir)
            },
            |(store, _)| store.commit(std::slice::from_ref(&commit)).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).commit(std::slice::from_ref(&commit)).unwrap();
    group.bench_function("open and load, as written", |b| b.iter(|| load(dir.path())));
    update_all(dir.path());
    group.bench_function("open and load, each updated once", |b| b.iter(|| load(dir.path())));
    group.finish();
}

fn load(dir: &Path) {
    assert_eq!(black_box(open(dir).load().unwrap()).records.len(), BULK);
}

/// Gives every record a row of its own, as a plan that ran would.
fn update_all(dir: &Path) {
    let mut store = open(dir);
    for start in (0..BULK).step_by(500) {
        let records: Vec<Record> = (start..start + 500).map(|number| updated(number, 1)).collect();
        let expected_seq = store.meta().seq;
        store.commit(&[Commit { expected_seq, records, facts: vec![added(9, 0..1)], ..Commit::default() }]).unwrap();
    }
}

criterion_group!(benches, single, bulk);
criterion_main!(benches);
