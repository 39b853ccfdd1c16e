//! Ends a job whose requester is gone: the thread that waits for the child wakes up and kills it. Deliberately absent:
//! undoing the work of the job.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Whether a job is still needed; clones share the state.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<EventFd>);

/// Cancels the job when it is dropped, together with the future that waits for the job.
#[derive(Debug)]
pub struct CancelOnDrop(Cancel);

impl Cancel {
    /// A new, uncancelled job. Fails if the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Cancels the job.
    pub fn cancel(&self) {
        let _ = self.0.write(1); // a full counter is already readable
    }

    /// A guard that cancels the job when it is dropped.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// A descriptor that becomes readable, and stays so, once the job is cancelled.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
