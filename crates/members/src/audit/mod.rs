//! The audit log: who requested which change, and how it ended, one JSON line each, in the state directory. A separate
//! thread writes. A request for a change waits until its line is written, and no change is made while lines cannot be
//! written. Deliberately absent: bodies, headers and queries of requests, which may hold secrets; and the effect of a
//! change (the facts record it).

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
/// Changes in progress plus lines that wait for the disk. More than the maximum number of connections.
const QUEUE: usize = 1024;

/// The audit log of a node.
#[derive(Debug)]
pub struct Audit {
    dir: PathBuf,
    /// The maximum size of the log, in bytes.
    size: u64,
    state: Arc<Mutex<State>>,
    /// The channel to the writer. The first line starts the writer, so a node that changes nothing creates no file.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
}

/// The state that the writer reports.
#[derive(Debug, Default)]
struct State {
    /// Why lines cannot be written at the moment.
    failing: Option<String>,
}

/// A line to write, and the caller that waits for it.
struct Job {
    entry: Entry,
    written: Option<oneshot::Sender<()>>,
}

impl Job {
    /// Releases the waiting caller, which may be gone.
    fn release(&mut self) {
        if let Some(written) = self.written.take() {
            let _ = written.send(());
        }
    }
}

/// Room for one line, reserved before the change. A change without room for its line is not carried out.
#[derive(Debug)]
pub struct Room(OwnedPermit<Job>);

impl Audit {
    /// The log below a state directory, of at most `size` bytes. No file is created before the first line.
    pub fn new(state_dir: &Path, size: u64) -> Self {
        Self { dir: state_dir.join(DIR), size, state: Arc::default(), queue: Mutex::default() }
    }

    /// Reserves room for a line.
    ///
    /// # Errors
    /// Lines cannot be written, so no change may be made now; says why.
    pub fn room(&self) -> Result<Room, String> {
        let queue = self.queue().map_err(|error| format!("cannot start a thread: {error}"))?;
        if let Some(why) = &self.state.lock().unwrap_or_else(PoisonError::into_inner).failing {
            return Err(why.clone());
        }
        queue.try_reserve_owned().map(Room).map_err(|error| match error {
            TrySendError::Full(_) => "too many lines are waiting to be written".to_owned(),
            TrySendError::Closed(_) => "its writer is gone".to_owned(),
        })
    }

    /// Starts the writer at the first call.
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

    /// A page of the log, newest line first. Reads files, so it must not run on threads that answer other requests.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, query: &AuditQuery) -> io::Result<AuditPage> {
        read::page(&self.dir, query)
    }
}

impl Room {
    /// Hands the line over; returns when it is written. The sync follows at once, but may not be complete yet.
    pub async fn write(self, entry: Entry) {
        let (written, done) = oneshot::channel();
        self.0.send(Job { entry, written: Some(written) });
        // A writer that is gone has logged the reason.
        let _ = done.await;
    }
}
