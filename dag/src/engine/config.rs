//! The engine's limits: each with its unit and the reason for its number.

/// A back-off between tries: doubling from the first wait to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure, in milliseconds.
    pub first_ms: u64,
    /// Never longer than this, in milliseconds.
    pub longest_ms: u64,
}

impl Backoff {
    /// The wait after this many failures in a row (1 is the first).
    pub fn after(self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        self.first_ms.saturating_mul(1 << doublings).min(self.longest_ms)
    }
}

/// Limits of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whether to start attempts and prepare merges. A node that serves a single request does not: its changes take
    /// effect at the next start with dispatching.
    pub dispatch: bool,
    /// After a charged attempt. 1 s to 5 min: an agent that fails at once must not burn its budget in a second, and a
    /// retry should not wait longer than a coffee break.
    pub charged_backoff: Backoff,
    /// After an uncharged return (host lost, rate limit, stop). 1 s to 5 min: rate limits last minutes.
    pub uncharged_backoff: Backoff,
    /// After a failed job of the shell (I/O). 1 s to 1 min: usually a full disk or a lock.
    pub job_backoff: Backoff,
    /// Uncharged returns in a row before a user is asked, of those that the task itself may have caused: bounds
    /// spending (guarantee 11).
    pub uncharged_cap: u32,
    /// The same for all returns, whatever their cause: hosts that fail again and again take attempts of healthy tasks
    /// with them. 100: with a host in three failing every 8 s, an attempt of 40 s passes once in eight times, and one
    /// task in a million returns that often. A multiple of [`Self::uncharged_cap`].
    pub returns_cap: u32,
    /// For this long after a host returned, an attempt that is reported lost counts as lost with the host, in
    /// milliseconds. A minute: the results of the other attempts are imported one after the other.
    pub aftermath_ms: u64,
    /// Hosts that fail without a task within this time before the task is lost show that the task does not cause the
    /// failures, in milliseconds. Five minutes: longer than random repetition, shorter than a working day of single
    /// faults.
    pub storm_ms: u64,
    /// A host that is silent this long is lost, with its attempts, in milliseconds, unless they are waited for longer.
    /// `max_disconnect` of the Taskmaster's configuration.
    pub max_disconnect_ms: u64,
    /// The same for attempts of tasks with a longer timeout than [`Self::long_timeout_ms`]: `long_disconnect`.
    pub long_disconnect_ms: u64,
    /// The limit of a long timeout, in milliseconds. 20 minutes: twice the wait, so that waiting costs less than
    /// redoing the work.
    pub long_timeout_ms: u64,
    /// Returns of a task in a row because of a provider's limit before a user is asked. Each parks the provider for its
    /// whole wait, so this many take days where limits are real, and bound the spending of an agent that merely claims
    /// a limit.
    pub limited_cap: u32,
    /// How long a provider is parked that does not say when it can be used again. 30 s to 1 h: most limits are per
    /// minute, some per hour.
    pub park_backoff: Backoff,
    /// The longest parking of a provider, in milliseconds, whatever it says: weekly limits are the longest known.
    pub park_longest_ms: u64,
    /// Feedback entries kept for the next prompt: older ones are about work that no longer exists.
    pub feedback_kept: usize,
    /// Bytes of inline feedback kept, newest first, so that a task's record stays within 16 KiB.
    pub feedback_bytes: usize,
    /// Attempt records kept for each task besides the running one and the one with the accepted commit.
    pub attempts_kept: usize,
    /// Numbers of attempts start after this one, whatever numbers a task had before. A Taskmaster that was restored
    /// from a backup does not know which numbers were assigned since: after this number none is assigned twice.
    pub attempts_behind: u32,
    /// Tasks in the engine: at about 600 bytes each, a million take 600 MB.
    pub tasks_max: usize,
    /// Estimated bytes of a task's description, so that its record stays within 16 KiB with feedback and a conflict.
    pub task_bytes: usize,
    /// Estimated bytes of a project's description, so that its record stays within 16 KiB.
    pub project_bytes: usize,
    /// Bytes of an image's or a provider's name: it is in the facts and records of every attempt or refusal.
    pub name_bytes: usize,
    /// Estimated bytes of the tasks in one fact, so that it stays within 12 KiB.
    pub fact_bytes: usize,
    /// Bytes of a reason that a host, DevOps or a user gave; the rest is cut.
    pub reason_bytes: usize,
    /// Bytes of paths, reasons and branch names of an attempt's leftovers; the rest is counted.
    pub left_bytes: usize,
    /// Bytes of an agent's summary that is not a blob: with it a task's record stays within 16 KiB.
    pub summary_bytes: usize,
    /// Images of a host that placement knows. 256: more than an agent host holds; with a thousand hosts, 20 MB.
    pub images_kept: usize,
    /// The most slots that a member gets by claiming them in its first report; a user must grant more. 1,024: no
    /// machine of today runs as many agents.
    pub member_slots: u32,
    /// How long the engine waits for the end of an attempt beyond its timeout and grace, in milliseconds. 3 h: longer
    /// than making a workspace, and longer than a host tries to deliver a result.
    pub attempt_slack_ms: u64,
    /// Conflicting paths kept, and their bytes together.
    pub conflict_paths: (usize, usize),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dispatch: true,
            charged_backoff: Backoff { first_ms: 1_000, longest_ms: 300_000 },
            uncharged_backoff: Backoff { first_ms: 1_000, longest_ms: 300_000 },
            job_backoff: Backoff { first_ms: 1_000, longest_ms: 60_000 },
            uncharged_cap: 5,
            returns_cap: 100,
            aftermath_ms: 60_000,
            storm_ms: 300_000,
            max_disconnect_ms: 120_000,
            long_disconnect_ms: 600_000,
            long_timeout_ms: 1_200_000,
            limited_cap: 20,
            park_backoff: Backoff { first_ms: 30_000, longest_ms: 3_600_000 },
            park_longest_ms: 8 * 86_400_000,
            feedback_kept: 5,
            feedback_bytes: 5 * 1024,
            attempts_kept: 20,
            attempts_behind: 0,
            tasks_max: 1_000_000,
            task_bytes: 7 * 1024,
            project_bytes: 12 * 1024,
            name_bytes: 512,
            fact_bytes: 11 * 1024,
            reason_bytes: 512,
            left_bytes: 8 << 10,
            images_kept: 256,
            member_slots: 1024,
            attempt_slack_ms: 3 * 3_600_000,
            summary_bytes: 1024,
            conflict_paths: (100, 2 * 1024),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_limit_and_never_overflows() {
        let backoff = Config::default().charged_backoff;
        assert_eq!([1, 2, 3, 9, 10, u32::MAX].map(|n| backoff.after(n)), [1000, 2000, 4000, 256_000, 300_000, 300_000]);
    }
}
