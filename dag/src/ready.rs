//! The ready tasks of one class (a role of a project), in the order in which they get a slot.
//! Deliberately absent: when a task is ready (the engine refreshes that) and where it runs (`placement`).

use std::collections::BTreeSet;

use crate::{attempt::Stage, plan::Priority};

/// A task's place in the order, in one word so that a hundred thousand of them stay small. From the top: priority;
/// checks before work, because started work should be finished; longest remaining path; age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// Longer remaining paths than this (2^24 tasks) count as equal.
const PATH_MAX: u32 = 0x00ff_ffff;

impl Key {
    pub(crate) fn new(priority: Priority, stage: Stage, remaining: u32, task: u32) -> Self {
        let urgency = priority as u64 * 2 + u64::from(stage == Stage::Work);
        let path = u64::from(PATH_MAX - remaining.min(PATH_MAX));
        Self(urgency << 56 | path << 32 | u64::from(task))
    }

    pub(crate) fn task(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn stage(self) -> Stage {
        if self.0 >> 56 & 1 == 0 { Stage::Check } else { Stage::Work }
    }
}

/// Ready tasks in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ready(BTreeSet<Key>);

impl Ready {
    pub(crate) fn insert(&mut self, key: Key) {
        self.0.insert(key);
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.0.remove(&key);
    }

    pub(crate) fn first(&self) -> Option<Key> {
        self.0.first().copied()
    }

    /// The first check: checks continue, whatever keeps work from starting.
    pub(crate) fn first_check(&self) -> Option<Key> {
        let urgencies = (0..4u64).map(|priority| priority * 2);
        urgencies
            .filter_map(|urgency| self.0.range(Key(urgency << 56)..Key((urgency + 1) << 56)).next())
            .next()
            .copied()
    }

    /// The first work task.
    pub(crate) fn first_work(&self) -> Option<Key> {
        let urgencies = (0..4u64).map(|priority| priority * 2 + 1);
        urgencies
            .filter_map(|urgency| self.0.range(Key(urgency << 56)..Key((urgency + 1) << 56)).next())
            .next()
            .copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Key> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_priority_then_checks_then_path_then_age() {
        let key = |p, s, r, t| Key::new(p, s, r, t);
        let ordered = [
            key(Priority::Critical, Stage::Work, 1, 9),
            key(Priority::Medium, Stage::Check, 1, 8),
            key(Priority::Medium, Stage::Work, 7, 6),
            key(Priority::Medium, Stage::Work, 7, 7),
            key(Priority::Medium, Stage::Work, 1, 1),
            key(Priority::Low, Stage::Check, 9, 0),
        ];
        assert!(ordered.is_sorted(), "{ordered:?}");
        assert_eq!((ordered[1].task(), ordered[1].stage()), (8, Stage::Check));
        assert_eq!((ordered[5].task(), ordered[2].stage()), (0, Stage::Work));
        let mut ready = Ready::default();
        assert_eq!(ready.first_check(), None);
        ordered.iter().for_each(|&key| ready.insert(key));
        assert_eq!(ready.first_check(), Some(ordered[1]));
        ready.remove(ordered[1]);
        assert_eq!(ready.first_check(), Some(ordered[5]));
    }
}
