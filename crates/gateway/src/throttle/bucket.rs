//! Token buckets: limits on average rate and burst. Pure; time is an argument.
//! Deliberately absent: callers, and clocks.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// The average rate per second.
    pub(super) per_second: u64,
    /// The burst.
    pub(super) burst: u64,
}

/// The rest of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// In thousandths.
    left: u64,
    /// The time of that rest, in milliseconds.
    at: u64,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn full(rate: Rate, now: u64) -> Self {
        Self { left: rate.burst.saturating_mul(1000), at: now }
    }

    /// Takes one token. `Err`: milliseconds until the next token; at least 1.
    pub(super) fn take(&mut self, rate: Rate, now: u64) -> Result<(), u64> {
        // A clock that went back adds no tokens.
        let passed = now.saturating_sub(self.at);
        let most = rate.burst.saturating_mul(1000);
        // A rate per second is the same number of thousandths per millisecond.
        self.left = self.left.saturating_add(passed.saturating_mul(rate.per_second)).min(most);
        self.at = self.at.max(now);
        match self.left.checked_sub(1000) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err((1000 - self.left).div_ceil(rate.per_second.max(1)).max(1)),
        }
    }
}

/// A bucket for each of the most recent callers. A caller that was forgotten starts with a full bucket again.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    most: usize,
    /// With the stamp of its entry in `order`.
    of: HashMap<K, (Bucket, u64)>,
    order: BTreeMap<u64, K>,
    stamp: u64,
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// For at most `most` callers.
    pub(super) fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, of: HashMap::new(), order: BTreeMap::new(), stamp: 0 }
    }

    /// Takes one token of this caller; see [`Bucket::take`].
    pub(super) fn take(&mut self, caller: &K, now: u64) -> Result<(), u64> {
        let rate = self.rate;
        self.stamp += 1;
        let (mut bucket, before) = match self.of.get(caller) {
            Some((bucket, stamp)) => (*bucket, Some(*stamp)),
            None => (Bucket::full(rate, now), None),
        };
        let taken = bucket.take(rate, now);
        match before {
            Some(stamp) => {
                self.order.remove(&stamp);
            }
            None if self.of.len() >= self.most => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.of.remove(&oldest);
                }
            }
            None => {}
        }
        self.order.insert(self.stamp, caller.clone());
        self.of.insert(caller.clone(), (bucket, self.stamp));
        taken
    }

    /// The number of known callers.
    #[cfg(test)]
    fn len(&self) -> usize {
        assert_eq!(self.of.len(), self.order.len());
        self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_burst_then_the_average() {
        let mut bucket = Bucket::full(RATE, 1000);
        for _ in 0..3 {
            bucket.take(RATE, 1000).unwrap();
        }
        assert_eq!(bucket.take(RATE, 1000), Err(100));
        assert_eq!(bucket.take(RATE, 1099), Err(1));
        assert_eq!(bucket.take(RATE, 1100), Ok(()));
        assert_eq!(bucket.take(RATE, 500), Err(100), "a clock that goes back gives nothing");
        // A long pause fills the bucket, and adds no more.
        for _ in 0..3 {
            bucket.take(RATE, 1_000_000).unwrap();
        }
        assert!(bucket.take(RATE, 1_000_000).is_err());
    }

    #[test]
    fn callers_do_not_share_and_the_oldest_is_forgotten() {
        let mut buckets = Buckets::new(RATE, 2);
        let exhaust = |buckets: &mut Buckets<&str>, who: &'static str| while buckets.take(&who, 0).is_ok() {};
        exhaust(&mut buckets, "a");
        exhaust(&mut buckets, "b");
        assert!(buckets.take(&"a", 0).is_err() && buckets.take(&"b", 0).is_err());
        assert!(buckets.take(&"c", 0).is_ok(), "somebody else's burst");
        assert_eq!(buckets.len(), 2);
        assert!(buckets.take(&"b", 0).is_err(), "b was seen after a");
        assert!(buckets.take(&"a", 0).is_ok(), "a was forgotten");
    }

    proptest! {
        /// In any period a caller gets at most the burst plus the average of that period.
        #[test]
        fn nobody_gets_more_than_is_allowed(steps in prop::collection::vec(0u64..300, 1..200)) {
            let (mut buckets, mut now, mut taken) = (Buckets::new(RATE, 4), 0, 0);
            for step in steps {
                now += step;
                match buckets.take(&(), now) {
                    Ok(()) => taken += 1,
                    Err(wait) => prop_assert!((1..=100).contains(&wait)),
                }
                prop_assert!(taken * 1000 <= RATE.burst * 1000 + now * RATE.per_second);
            }
        }
    }
}
