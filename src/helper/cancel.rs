//! Ends a job whose asker has gone: the thread that waits for the child wakes up and kills it.
//! Deliberately absent: undoing what the job did.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Whether a job is still wanted; clones are one.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<EventFd>);

/// Ends the job when it is dropped, as the future that waits for it is.
#[derive(Debug)]
pub struct CancelOnDrop(Cancel);

impl Cancel {
    /// A job that is wanted. Fails where the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Nobody wants it any more.
    pub fn cancel(&self) {
        let _ = self.0.write(1); // full: it was said often enough
    }

    /// Cancels when it is dropped.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// Readable once it is cancelled, and for ever.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
