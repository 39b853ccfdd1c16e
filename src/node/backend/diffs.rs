//! Diffs for people. Each is made in a helper process, at most a few at once, and ends with the request that asked for it;
//! those who ask for the same wait for one answer, and the last answers are kept: a diff of two commits never changes.
//! Deliberately absent: making one (`repository::history`).

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use devstack_dag::ids::CommitId;
use tokio::sync::{OnceCell, Semaphore};

use super::errors;
use crate::{
    gateway::ApiError,
    helper::Cancel,
    repository::{Hub, history::Bounded},
};

/// Made at once: more would take the processors from those who work.
const AT_ONCE: usize = 4;
/// Answers that are kept, and their bytes together.
const KEPT: (usize, usize) = (64, 64 << 20);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) from: CommitId,
    pub(super) to: CommitId,
    /// Only these; none: all.
    pub(super) paths: Vec<String>,
    /// Globs of files that come first.
    pub(super) first: Vec<String>,
    /// Bytes of the answer.
    pub(super) limit: usize,
}

type Slot = Arc<OnceCell<Arc<Bounded>>>;

/// Diffs that are being made, and the last that were.
pub(in crate::node) struct Diffs {
    room: Semaphore,
    /// The one used last is at the end.
    known: Mutex<VecDeque<(PathBuf, Wanted, Slot)>>,
}

impl Default for Diffs {
    fn default() -> Self {
        Self { room: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }
}

impl Diffs {
    /// The diff, made or remembered.
    pub(super) async fn get(&self, hub: Arc<Hub>, wanted: Wanted) -> Result<Arc<Bounded>, ApiError> {
        let slot = self.slot(&hub, &wanted);
        // Whoever goes away while making it leaves the making to the next who waits.
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
