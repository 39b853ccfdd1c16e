//! The clock for deadlines: CLOCK_BOOTTIME never jumps and keeps counting while the machine sleeps.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since boot. Zero only where the clock does not exist (before Linux 2.6.39).
pub(crate) fn now_ms() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |time| time.tv_sec().unsigned_abs() * 1000 + time.tv_nsec().unsigned_abs() / 1_000_000)
}
