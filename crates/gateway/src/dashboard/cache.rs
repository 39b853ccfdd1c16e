//! Shares one rendering among all users with the same view: a page drawn since the last tick is reused for at most a
//! second.
//! Deliberately absent: full page loads. Those are always drawn anew, so users see the result of their own actions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use super::page::Drawn;
use devstack_api::ApiError;

/// The maximum age of a shared rendering.
const FRESH: Duration = Duration::from_secs(1);
/// The maximum number of cached pages: each can have some hundred kilobytes.
const KEPT: usize = 64;

/// The key of a view: the permissions of the user, and the address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whether the view shows actions of operators.
    pub(super) may_act: bool,
    /// Whether the view shows actions of admins.
    pub(super) may_admin: bool,
    /// Path and query.
    pub(super) place: String,
}

/// The renderings of one tick.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<Key, Entry>>);

struct Entry {
    tick: u64,
    since: Instant,
    drawn: Arc<OnceCell<Arc<Drawn>>>,
}

impl Cache {
    /// The rendering of this tick. The first request makes it; the others wait for it.
    pub(super) async fn drawn(
        &self,
        key: Key,
        tick: u64,
        make: impl Future<Output = Result<Drawn, ApiError>>,
    ) -> Result<Arc<Drawn>, ApiError> {
        let cell = self.cell(key, tick, Instant::now());
        cell.get_or_try_init(|| async { make.await.map(Arc::new) }).await.cloned()
    }

    fn cell(&self, key: Key, tick: u64, now: Instant) -> Arc<OnceCell<Arc<Drawn>>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |entry: &Entry| entry.tick == tick && now.duration_since(entry.since) < FRESH;
        if let Some(entry) = entries.get(&key).filter(|entry| is_fresh(entry)) {
            return entry.drawn.clone();
        }
        entries.retain(|_, entry| is_fresh(entry));
        let drawn = Arc::<OnceCell<_>>::default();
        if entries.len() < KEPT {
            entries.insert(key, Entry { tick, since: now, drawn: drawn.clone() });
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(place: &str) -> Key {
        Key { may_act: true, may_admin: true, place: place.into() }
    }

    #[test]
    fn a_tick_or_a_second_makes_it_old() {
        let (cache, now) = (Cache::default(), Instant::now());
        let first = cache.cell(key("/"), 1, now);
        assert!(Arc::ptr_eq(&first, &cache.cell(key("/"), 1, now + FRESH / 2)));
        assert!(!Arc::ptr_eq(&first, &cache.cell(key("/board"), 1, now)));
        assert!(!Arc::ptr_eq(&first, &cache.cell(Key { may_act: false, ..key("/") }, 1, now)));
        assert!(!Arc::ptr_eq(&first, &cache.cell(key("/"), 1, now + FRESH)));
        let second = cache.cell(key("/"), 2, now + FRESH);
        assert!(!Arc::ptr_eq(&second, &first));
    }

    #[test]
    fn it_is_bounded() {
        let (cache, now) = (Cache::default(), Instant::now());
        for number in 0..KEPT * 2 {
            cache.cell(key(&format!("/tasks?after={number}")), 1, now);
        }
        assert_eq!(cache.0.lock().unwrap().len(), KEPT);
    }
}
