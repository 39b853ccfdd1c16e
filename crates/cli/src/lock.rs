//! The lock of a state directory: only one process at a time opens its store. The kernel releases the lock when the
//! process ends.

use std::{fs, io, os::unix::fs::OpenOptionsExt, path::Path};

use nix::fcntl::{Flock, FlockArg};

/// Held while a node uses a state directory.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "held, not read")] Flock<fs::File>);

impl StateLock {
    /// Takes the lock; `None` if another process holds it.
    ///
    /// # Errors
    /// The directory does not exist or is not writable.
    pub fn try_acquire(dir: &Path) -> io::Result<Option<Self>> {
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("lock"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self(lock))),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StateLock;

    #[test]
    fn only_one_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateLock::try_acquire(dir.path()).unwrap();
        assert!(first.is_some());
        assert!(StateLock::try_acquire(dir.path()).unwrap().is_none());
        drop(first);
        assert!(StateLock::try_acquire(dir.path()).unwrap().is_some());
    }
}
