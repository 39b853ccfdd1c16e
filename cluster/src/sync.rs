//! Small helpers for waiting and locking. Deliberately absent: anything that knows links.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Locks. State left by a panic is used as it is: everything behind these locks is consistent after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request to end, made once, with its reason.
#[derive(Debug, Clone)]
pub(crate) struct End(Arc<watch::Sender<Option<Arc<str>>>>);

impl End {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Requests the end; the first reason stays.
    pub(crate) fn ask(&self, why: &str) {
        self.0.send_if_modified(|asked| {
            let first = asked.is_none();
            if first {
                *asked = Some(why.into());
            }
            first
        });
    }

    /// The reason, if the end was requested.
    pub(crate) fn asked(&self) -> Option<Arc<str>> {
        self.0.borrow().clone()
    }

    /// Waits until the end is requested.
    pub(crate) async fn wait(&self) -> Arc<str> {
        let mut asked = self.0.subscribe();
        let why = asked.wait_for(Option::is_some).await.map(|why| why.clone());
        // The sender lives as long as `self`.
        why.ok().flatten().unwrap_or_default()
    }
}
