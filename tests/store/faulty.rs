//! Stores that misbehave on demand: what stands above must stop at the first error.

use std::{
    io,
    sync::mpsc::{Receiver, Sender},
};

use devstack::store::{Commit, Meta, RequestKey, Seq, Store, StoreError, StoreReader, StoredReply, Term};
use devstack_dag::record::Record;

/// What goes wrong.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// The disk is full before anything is written.
    Full,
    /// The sync fails: written, but nobody knows whether it is durable.
    Sync,
    /// A defect.
    Panic,
}

/// A store whose nth commit (counted from 1) and all after it fail.
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) fault: Fault,
    pub(crate) at: usize,
    pub(crate) commits: usize,
}

impl<S: Store> Faulty<S> {
    pub(crate) fn new(inner: S, fault: Fault, at: usize) -> Self {
        Self { inner, fault, at, commits: 0 }
    }
}

fn full() -> StoreError {
    StoreError::Io { step: "writing the store".into(), source: io::Error::from_raw_os_error(libc::ENOSPC) }
}

/// A store that says which group it was given and waits for leave before each commit.
pub(crate) struct Gated<S> {
    pub(crate) inner: S,
    pub(crate) asked: Sender<Vec<Commit>>,
    pub(crate) leave: Receiver<()>,
}

macro_rules! delegate {
    () => {
        fn new_term(&mut self) -> Result<Term, StoreError> {
            self.inner.new_term()
        }
        fn prune(&mut self, facts_from: Seq, replies_from: Seq) -> Result<(), StoreError> {
            self.inner.prune(facts_from, replies_from)
        }
        fn restore(&mut self, meta: &Meta, content: &Commit) -> Result<(), StoreError> {
            self.inner.restore(meta, content)
        }
        fn meta(&self) -> Meta {
            self.inner.meta()
        }
        fn records(&self, each: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
            self.inner.records(each)
        }
        fn replies(&self, each: &mut dyn FnMut(RequestKey, StoredReply)) -> Result<(), StoreError> {
            self.inner.replies(each)
        }
        fn reader(&self) -> StoreReader {
            self.inner.reader()
        }
    };
}

impl<S: Store> Store for Faulty<S> {
    fn commit(&mut self, group: &[Commit]) -> Result<Seq, StoreError> {
        self.commits += 1;
        if self.commits < self.at {
            return self.inner.commit(group);
        }
        match self.fault {
            Fault::Full => Err(full()),
            Fault::Sync => self.inner.commit(group).and(Err(full())),
            Fault::Panic => panic!("a defect"),
        }
    }
    delegate!();
}

impl<S: Store> Store for Gated<S> {
    fn commit(&mut self, group: &[Commit]) -> Result<Seq, StoreError> {
        self.asked.send(group.to_vec()).unwrap();
        self.leave.recv().unwrap();
        self.inner.commit(group)
    }
    delegate!();
}
