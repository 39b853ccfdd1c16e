//! Diffs for users. Each diff is made in a helper process, at most a few at once, and ends with the request that asked
//! for it. Requests for the same diff wait for one answer, and the latest answers are cached: a diff of two commits
//! never changes. Deliberately absent: making a diff (`repository::history`).

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use devstack_dag::ids::CommitId;
use tokio::sync::{OnceCell, Semaphore};

use super::errors;
use devstack_api::ApiError;
use devstack_repository::{Hub, helper::Cancel, history::Bounded};

/// Number of diffs made at once: more would take processors from running work.
const AT_ONCE: usize = 4;
/// Number of cached answers, and their total size in bytes.
const KEPT: (usize, usize) = (64, 64 << 20);

/// A requested diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) from: CommitId,
    pub(super) to: CommitId,
    /// Only these paths; empty for all.
    pub(super) paths: Vec<String>,
    /// Globs of files that come first.
    pub(super) first: Vec<String>,
    /// Maximum size of the answer in bytes.
    pub(super) limit: usize,
}

type Slot = Arc<OnceCell<Arc<Bounded>>>;

/// Diffs in progress, and the latest ones.
pub(in crate::node) struct Diffs {
    room: Semaphore,
    /// The most recently used one is last.
    known: Mutex<VecDeque<(PathBuf, Wanted, Slot)>>,
}

impl Default for Diffs {
    fn default() -> Self {
        Self { room: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }
}

impl Diffs {
    /// Returns the diff, new or cached.
    pub(super) async fn get(&self, hub: Arc<Hub>, wanted: Wanted) -> Result<Arc<Bounded>, ApiError> {
        let slot = self.slot(&hub, &wanted);
        // If the caller that makes it goes away, the next waiting caller makes it.
        let made = slot.get_or_try_init(|| self.make(hub, wanted)).await?.clone();
        self.trim();
        Ok(made)
    }

    async fn make(&self, hub: Arc<Hub>, wanted: Wanted) -> Result<Arc<Bounded>, ApiError> {
        let _room = self.room.acquire().await.map_err(errors::internal)?;
        let cancel = Cancel::new().map_err(errors::internal)?;
        let _end = cancel.on_drop();
        let make = move || {
            let Wanted { from, to, paths, first, limit } = wanted;
            hub.diff(from, to, (&paths, &first), limit, Some(&cancel))
        };
        errors::blocking(make).await?.map(Arc::new).map_err(errors::git)
    }

    fn slot(&self, hub: &Hub, wanted: &Wanted) -> Slot {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(dir, known, _)| dir == hub.dir() && known == wanted);
        let entry = at.and_then(|at| known.remove(at));
        let entry = entry.unwrap_or_else(|| (hub.dir().to_owned(), wanted.clone(), Slot::default()));
        let slot = entry.2.clone();
        known.push_back(entry);
        slot
    }

    fn trim(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |(_, _, slot): &(PathBuf, Wanted, Slot)| slot.get().map_or(0, |patch| patch.text.len());
        let mut bytes: usize = known.iter().map(size).sum();
        while known.len() > KEPT.0 || bytes > KEPT.1 {
            let Some(oldest) = known.pop_front() else { break };
            bytes -= size(&oldest);
        }
    }
}
