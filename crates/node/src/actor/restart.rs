//! The limit on restarts of an actor: a pure policy, time is an argument. (ractor-supervisor does not work with
//! ractor's `cluster` feature.)

use std::{collections::VecDeque, time::Duration};

/// At most `max` restarts within `window`; systemd's default for units is 5 in 10 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts allowed in the window.
    pub max: usize,
    /// The window.
    pub window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { max: 5, window: Duration::from_secs(60) }
    }
}

/// The reaction to a failed child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartVerdict {
    /// Start it again.
    Restart,
    /// It fails too often: the parent must fail too.
    GiveUp,
}

/// The restarts of one child so far.
#[derive(Debug, Default)]
pub struct Restarts(VecDeque<Duration>);

impl Restarts {
    /// A child failed at `now` (time since any fixed origin).
    pub fn failed(&mut self, policy: RestartPolicy, now: Duration) -> RestartVerdict {
        while self.0.front().is_some_and(|&at| at + policy.window <= now) {
            self.0.pop_front();
        }
        if self.0.len() >= policy.max {
            return RestartVerdict::GiveUp;
        }
        self.0.push_back(now);
        RestartVerdict::Restart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_counted_in_a_sliding_window() {
        let policy = RestartPolicy { max: 2, window: Duration::from_secs(10) };
        let at = Duration::from_secs;
        let mut restarts = Restarts::default();
        assert_eq!(restarts.failed(policy, at(0)), RestartVerdict::Restart);
        assert_eq!(restarts.failed(policy, at(1)), RestartVerdict::Restart);
        assert_eq!(restarts.failed(policy, at(2)), RestartVerdict::GiveUp);
        assert_eq!(restarts.failed(policy, at(11)), RestartVerdict::Restart);
    }
}
