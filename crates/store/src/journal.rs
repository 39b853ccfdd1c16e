//! The journal: the one thread that commits, so that all waiting commits share a sync.
//!
//! It takes everything in the queue, up to the limits of [`JournalConfig`], commits it as one group, and then runs each
//! entry's completion in order. It never waits for more entries: while one sync runs, the next group collects in the
//! queue, and a single commit takes one sync. The queue is bounded; a full queue blocks the submitter.
//!
//! The caller chains `expected_seq` ([`Commit::seq_after`]): it counts the facts it applied, and the store's check
//! detects when this count and the store's count differ.
//!
//! Any error ends the journal: the fatal callback is called once, the remaining completions never run, and every later
//! call returns
//! [`Closed`]. Deliberately absent: retries. After a failed sync the content of the disk is unknown.

use std::{
    any::Any,
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Instant,
};

use super::{Commit, Lookup, RequestKey, Seq, Store, StoreError, StoreReader, StoredReply};
use crate::fault::{self, Point};
use devstack_telemetry::{cpu, metrics::meters};

/// Limits of the journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalConfig {
    /// Entries that may wait in the queue; the next one blocks. Several groups' worth.
    pub queue: usize,
    /// Entries committed as one group. Beyond some hundred entries, the share of one sync is already smaller than the
    /// cost of the rows.
    pub max_entries: usize,
    /// The approximate number of records, facts and replies in one group (the last entry may exceed it). sled applies
    /// this many in about 20 ms, so a flood of large entries does not delay all others for long.
    pub max_rows: usize,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { queue: 4096, max_entries: 512, max_rows: 2048 }
    }
}

/// A commit, and the completion to run when it is durable.
pub struct Entry {
    /// The commit.
    pub commit: Commit,
    /// Called on the journal's thread with the number of the commit's last fact. It must only send a message.
    pub then: Box<dyn FnOnce(Seq) + Send>,
}

/// The journal accepts nothing more: it failed (the fatal callback got the reason) or was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed: nothing more can be made durable by this process")]
pub struct Closed;

enum Work {
    Commit(Entry),
    Barrier(Box<dyn FnOnce() + Send>),
    Prune { facts_from: Seq, replies_from: Seq },
    Look(Look),
}

/// Reads the store between two commits.
type Look = Box<dyn FnOnce(&dyn Store) + Send>;

/// Replies that are not durable yet, so that a request repeated meanwhile is recognised.
type Pending = Mutex<HashMap<RequestKey, StoredReply>>;

/// The handle of the journal's thread.
pub struct Journal {
    queue: SyncSender<Work>,
    pending: Arc<Pending>,
    reader: StoreReader,
    thread: JoinHandle<Option<Box<dyn Store>>>,
}

impl Journal {
    /// Starts the thread. `on_fatal` is called at most once, on that thread, with the reason why nothing more becomes
    /// durable; a node exits in it. Fails if the kernel provides no thread.
    pub fn spawn(
        store: Box<dyn Store>,
        config: JournalConfig,
        on_fatal: impl FnOnce(StoreError) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, work) = sync_channel(config.queue);
        let pending = Arc::new(Pending::default());
        let reader = store.reader();
        let mut writer = Writer { store, config, pending: Arc::clone(&pending) };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| writer.run(&work)));
            // From here on submitting fails at once.
            drop(work);
            match outcome {
                Ok(Ok(())) => return Some(writer.store),
                Ok(Err(error)) => on_fatal(error),
                Err(panic) => on_fatal(panicked(&*panic)),
            }
            None
        })?;
        Ok(Self { queue, pending, reader, thread })
    }

    /// Queues a commit. Blocks while the queue is full, for at most a few syncs.
    pub fn submit(&self, entry: Entry) -> Result<(), Closed> {
        if !entry.commit.replies.is_empty() {
            lock(&self.pending).extend(entry.commit.replies.iter().cloned());
        }
        self.queue.send(Work::Commit(entry)).map_err(|_| Closed)
    }

    /// Calls `then` when everything submitted earlier is durable. With this, an answer that only reads waits for what
    /// it read.
    pub fn barrier(&self, then: impl FnOnce() + Send + 'static) -> Result<(), Closed> {
        self.queue.send(Work::Barrier(Box::new(then))).map_err(|_| Closed)
    }

    /// Queues [`Store::prune`].
    pub fn prune(&self, facts_from: Seq, replies_from: Seq) -> Result<(), Closed> {
        self.queue.send(Work::Prune { facts_from, replies_from }).map_err(|_| Closed)
    }

    /// Shows the store with everything submitted earlier and nothing submitted later. Commits wait meanwhile. For
    /// callers that need the whole state at one moment and have no other source.
    pub fn look(&self, look: impl FnOnce(&dyn Store) + Send + 'static) -> Result<(), Closed> {
        self.queue.send(Work::Look(Box::new(look))).map_err(|_| Closed)
    }

    /// Whether this request was already answered. Includes submitted commits, so a replayed answer goes through
    /// [`Journal::barrier`] like every other.
    pub fn lookup(&self, key: &RequestKey, body_hash: &[u8; 32]) -> Result<Lookup, StoreError> {
        // Pending first: a reply leaves `pending` only when the store shows it.
        let pending = lock(&self.pending).get(key).cloned();
        let kept = match pending {
            Some(reply) => Some(reply),
            None => self.reader.reply(key)?,
        };
        Ok(Lookup::judge(kept, body_hash))
    }

    /// A reader of facts beside the journal. Drop every copy before the store is opened again.
    pub fn reader(&self) -> StoreReader {
        Arc::clone(&self.reader)
    }

    /// Commits the queue, ends the thread and returns the store; [`Closed`] if the journal already failed.
    pub fn close(self) -> Result<Box<dyn Store>, Closed> {
        drop(self.queue);
        self.thread.join().ok().flatten().ok_or(Closed)
    }
}

// The map is consistent after every call on it, so a panic elsewhere under the lock does no harm.
fn lock(pending: &Pending) -> MutexGuard<'_, HashMap<RequestKey, StoredReply>> {
    pending.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn panicked(panic: &(dyn Any + Send)) -> StoreError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    StoreError::io("the journal")(io::Error::other(format!("it panicked: {}", text.unwrap_or("without a message"))))
}

/// The thread's side.
struct Writer {
    store: Box<dyn Store>,
    config: JournalConfig,
    pending: Arc<Pending>,
}

/// The current group, and its completions in order.
#[derive(Default)]
struct Group {
    commits: Vec<Commit>,
    then: Vec<Then>,
    rows: usize,
    prune: Option<(Seq, Seq)>,
    look: Option<Look>,
}

enum Then {
    Committed(Seq, Box<dyn FnOnce(Seq) + Send>),
    Barrier(Box<dyn FnOnce() + Send>),
}

impl Group {
    fn add(&mut self, work: Work) {
        match work {
            Work::Commit(Entry { commit, then }) => {
                self.rows += commit.weight();
                self.then.push(Then::Committed(commit.seq_after(), then));
                self.commits.push(commit);
            }
            Work::Barrier(then) => self.then.push(Then::Barrier(then)),
            Work::Prune { facts_from, replies_from } => self.prune = Some((facts_from, replies_from)),
            Work::Look(look) => self.look = Some(look),
        }
    }

    fn is_full(&self, config: &JournalConfig) -> bool {
        self.then.len() >= config.max_entries
            || self.rows >= config.max_rows
            || self.prune.is_some()
            || self.look.is_some()
    }
}

impl Writer {
    fn run(&mut self, work: &Receiver<Work>) -> Result<(), StoreError> {
        while let Ok(first) = work.recv() {
            let mut group = Group::default();
            group.add(first);
            while !group.is_full(&self.config) {
                let Ok(next) = work.try_recv() else { break };
                group.add(next);
            }
            cpu::JOURNAL.of(|| self.write(group))?;
        }
        Ok(())
    }

    fn write(&mut self, group: Group) -> Result<(), StoreError> {
        if !group.commits.is_empty() {
            fault::point(Point::JournalBeforeCommit);
            let began = Instant::now();
            self.store.commit(&group.commits)?;
            let facts = group.commits.iter().map(|commit| commit.facts.len() as u64).sum();
            meters().committed(began.elapsed(), facts);
            fault::point(Point::JournalAfterCommit);
            self.forget_pending(&group.commits);
        }
        for then in group.then {
            match then {
                Then::Committed(seq, then) => then(seq),
                Then::Barrier(then) => then(),
            }
        }
        if let Some(look) = group.look {
            look(&*self.store);
        }
        match group.prune {
            Some((facts_from, replies_from)) => self.store.prune(facts_from, replies_from),
            None => Ok(()),
        }
    }

    fn forget_pending(&self, commits: &[Commit]) {
        let mut replies = commits.iter().flat_map(|commit| &commit.replies).peekable();
        if replies.peek().is_some() {
            let mut pending = lock(&self.pending);
            replies.for_each(|(key, _)| drop(pending.remove(key)));
        }
    }
}
