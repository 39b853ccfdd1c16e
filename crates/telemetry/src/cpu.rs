//! Processor time by kind of work. A node's threads do all kinds of work, so the thread's own clock is read before and
//! after every piece (0.2 µs each). There is one counter of each kind in a process, as there is one of each actor.
//! Deliberately absent: presentation (the gateway shows the numbers).

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// Processor time that the Taskmaster spends on its messages: decisions, records, effects.
pub static TASKMASTER: Cpu = Cpu::new();

/// Processor time that the journal's thread spends on commits. sled's own threads, which write to the disk, are not
/// included.
pub static JOURNAL: Cpu = Cpu::new();

/// The processor time of one kind of work.
#[derive(Debug)]
pub struct Cpu(AtomicU64);

impl Cpu {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The time spent since the process started.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Runs a piece of work and measures it.
    pub fn of<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_now();
        let done = work();
        self.0.fetch_add(thread_now().saturating_sub(before), Ordering::Relaxed);
        done
    }

    /// Runs a piece of work that may wait, on any threads; waiting does not count.
    pub async fn of_future<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        std::future::poll_fn(|context| self.of(|| work.as_mut().poll(context))).await
    }
}

/// The calling thread's processor time in nanoseconds. Zero only where this clock does not exist (before Linux 2.6.12).
fn thread_now() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |time| time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let cpu = Cpu::new();
        cpu.of(|| std::thread::sleep(Duration::from_millis(50)));
        let asleep = cpu.spent();
        assert!(asleep < Duration::from_millis(50), "{asleep:?}");
        // Ends only if work is counted.
        while cpu.spent() < asleep + Duration::from_millis(5) {
            cpu.of(|| std::hint::black_box((0..10_000u64).fold(0, u64::wrapping_add)));
        }
    }
}
