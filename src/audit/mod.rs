//! The log of changes: who asked for what, and how it ended, one JSON line each, in the state directory. A thread of its own
//! writes; whoever asks for a change waits until its line is written, and nothing is changed while lines cannot be.
//! Deliberately absent: bodies, headers and queries of requests, which may hold secrets; and what a change did (the facts
//! say that).

mod entry;
mod files;
mod read;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{
    mpsc::{self, OwnedPermit, error::TrySendError},
    oneshot,
};

pub use entry::{Entry, target};
pub use read::{AuditPage, AuditQuery};

/// The directory, below the state directory.
const DIR: &str = "audit";
/// Changes under way, and lines that wait for the disk. More than there may be connections.
const QUEUE: usize = 1024;

/// The log of a node.
#[derive(Debug)]
pub struct Audit {
    dir: PathBuf,
    /// The most that is kept, in bytes.
    size: u64,
    state: Arc<Mutex<State>>,
    /// The way to the writer, which is started by the first line: a node that changes nothing makes no file.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
}

/// What the writer says of itself.
#[derive(Debug, Default)]
struct State {
    /// Why lines cannot be written for now.
    failing: Option<String>,
}

/// A line to be written, and who waits for that.
struct Job {
    entry: Entry,
    written: Option<oneshot::Sender<()>>,
}

impl Job {
    /// Lets go whoever waits; they may have gone.
    fn release(&mut self) {
        if let Some(written) = self.written.take() {
            let _ = written.send(());
        }
    }
}

/// Room for one line, taken before the change: a change whose line has no room is not carried out.
#[derive(Debug)]
pub struct Room(OwnedPermit<Job>);

impl Audit {
    /// The log below a state directory, of at most `size` bytes. Nothing is made before the first line.
    pub fn new(state_dir: &Path, size: u64) -> Self {
        Self { dir: state_dir.join(DIR), size, state: Arc::default(), queue: Mutex::default() }
    }

    /// Room for a line.
    ///
    /// # Errors
    /// Why a change must not be made now: lines cannot be written.
    pub fn room(&self) -> Result<Room, String> {
        let queue = self.queue().map_err(|error| format!("no thread can be started: {error}"))?;
        if let Some(why) = &self.state.lock().unwrap_or_else(PoisonError::into_inner).failing {
            return Err(why.clone());
        }
        queue.try_reserve_owned().map(Room).map_err(|error| match error {
            TrySendError::Full(_) => "too many lines wait to be written".to_owned(),
            TrySendError::Closed(_) => "its writer is gone".to_owned(),
        })
    }

    /// Starts the writer when it is first asked for.
    fn queue(&self) -> io::Result<mpsc::Sender<Job>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = &*queue {
            return Ok(queue.clone());
        }
        let (send, receive) = mpsc::channel(QUEUE);
        let writer = writer::Writer::new(self.dir.clone(), self.size, self.state.clone());
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(receive))?;
        Ok(queue.insert(send).clone())
    }

    /// A page of the log, the newest line first. Reads files: not for threads that answer others.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, query: &AuditQuery) -> io::Result<AuditPage> {
        read::page(&self.dir, query)
    }
}

impl Room {
    /// Hands the line over; returns when it is written (not yet synced: that follows at once).
    pub async fn write(self, entry: Entry) {
        let (written, done) = oneshot::channel();
        self.0.send(Job { entry, written: Some(written) });
        // A writer that is gone said why.
        let _ = done.await;
    }
}
