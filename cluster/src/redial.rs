//! How long to wait before the next dial: full jitter, so that hosts that lost the same peer do not all return at the
//! same moment. Pure. Deliberately absent: a clock, a source of randomness, and giving up.

use std::time::Duration;

/// The back-off of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redial {
    /// The upper bound of the first wait.
    pub base: Duration,
    /// The upper bound of every wait.
    pub cap: Duration,
}

impl Redial {
    /// The wait before the dial after `failures` failures in a row (1 is the first), for a uniform `random`: up to
    /// `base * 2^(failures - 1)`, and never more than `cap`.
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.base.saturating_mul(doubled).min(self.cap);
        // A fraction of the longest wait: a float holds 53 bits exactly.
        let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
        longest.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REDIAL: Redial = Redial { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

    #[test]
    fn it_doubles_up_to_the_cap() {
        let longest: Vec<u128> = (0..8).map(|failures| REDIAL.wait(failures, u64::MAX).as_millis()).collect();
        assert_eq!(longest, [100, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(REDIAL.wait(u32::MAX, 0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn it_stays_within_the_cap(failures: u32, random: u64) {
            prop_assert!(REDIAL.wait(failures, random) <= REDIAL.cap);
        }

        #[test]
        fn it_spreads_over_all_of_it(random: u64) {
            let wait = REDIAL.wait(20, random).as_secs_f64();
            prop_assert!((wait - 2.0 * (random as f64 / u64::MAX as f64)).abs() < 1e-6);
        }
    }
}
