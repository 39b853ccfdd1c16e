//! The project's lock: `flock` on a file in the hub. Code that moves a ref or lands objects holds it; the kernel
//! releases it when the holder dies for any reason. Git child processes never need it: they write to a private scratch
//! and not to the hub, so a child that outlives a killed node can change nothing. Deliberately absent: fairness and
//! re-entrance.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::Error;

/// The lock file's name; not `*.lock`, which git and our clean-up of stale locks would take for a ref's lock.
const FILE: &str = "project-lock";
/// How long to wait: a holder needs milliseconds, a fetch from a source up to minutes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pauses between tries: the shortest and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

/// The project's lock, held while this exists.
#[derive(Debug)]
pub struct ProjectLock {
    file: Flock<File>,
    path: PathBuf,
}

impl ProjectLock {
    /// Wait for the lock of the hub at `hub`; [`Error::Busy`] after a minute.
    pub(crate) fn acquire(hub: &Path) -> Result<Self, Error> {
        Self::acquire_within(hub, PATIENCE)
    }

    /// Like [`Self::acquire`], with a given time limit.
    pub(crate) fn acquire_within(hub: &Path, patience: Duration) -> Result<Self, Error> {
        let path = hub.join(FILE);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(&path)
            .map_err(Error::io("open the lock", &path))?;
        let give_up = Instant::now() + patience;
        let mut pause = BACKOFF.0;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => return Ok(Self { file, path }),
                Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= give_up => return Err(Error::Busy(hub.to_owned())),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err((_, errno)) => return Err(Error::Io { what: "lock", path, source: errno.into() }),
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// Prove that the file we hold is still the one that everybody else locks; done right before a ref moves.
    pub(crate) fn prove(&self) -> Result<(), Error> {
        let same = || -> std::io::Result<bool> {
            let (ours, named) = (self.file.metadata()?, std::fs::metadata(&self.path)?);
            Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
        };
        match same() {
            Ok(true) => Ok(()),
            _ => Err(Error::LockLost(self.path.clone())),
        }
    }
}
