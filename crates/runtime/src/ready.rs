//! Waits for a descriptor in an async task: a process's end (pidfd), a file's change (inotify).

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Waits until there is something to read.
pub(super) async fn readable(fd: OwnedFd) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "its successor is an unsafe function; this one is unsound only for types that do not \
                                   own their descriptor, and an OwnedFd does"
    )]
    let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
    fd.readable().await.map(|_| ())
}
