//! The stable words of the contract for statuses, reasons, stages and outcomes.
//! Deliberately absent: what they mean.

use devstack_dag::{
    attempt::{Outcome, Stage},
    record::{BlockedReason, Status},
};

/// Statuses in the order of a task's life, with their words.
pub const STATUSES: [(Status, &str); 8] = [
    (Status::Todo, "TODO"),
    (Status::Wip, "WIP"),
    (Status::Testing, "TESTING"),
    (Status::Review, "REVIEW"),
    (Status::Approved, "APPROVED"),
    (Status::Completed, "COMPLETED"),
    (Status::Blocked, "BLOCKED"),
    (Status::Rejected, "REJECTED"),
];

/// The word for a status.
pub fn status(status: Status) -> &'static str {
    STATUSES.iter().find(|(known, _)| *known == status).map_or("TODO", |(_, word)| word)
}

/// The status of a word, in any case.
pub fn parse_status(word: &str) -> Option<Status> {
    STATUSES.iter().find(|(_, known)| known.eq_ignore_ascii_case(word)).map(|(status, _)| *status)
}

/// The word for why a task is BLOCKED.
pub fn blocked_reason(reason: BlockedReason) -> &'static str {
    match reason {
        BlockedReason::Conflict => "conflict",
        BlockedReason::AttemptsExhausted => "attempts-exhausted",
        BlockedReason::DependencyRejected => "dependency-rejected",
        BlockedReason::NeedsHuman => "needs-human",
        BlockedReason::MergeCheckFailed => "merge-check-failed",
        BlockedReason::Policy => "policy",
    }
}

/// The word for what an attempt is for.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Work => "work",
        Stage::Check => "check",
    }
}

/// The word for how an attempt ended, its exit code, and what is known beyond.
pub fn outcome(outcome: &Outcome) -> (&'static str, Option<i32>, Option<String>) {
    match outcome {
        Outcome::Exited(0) => ("done", Some(0), None),
        Outcome::Exited(75) => ("try-again-later", Some(75), None),
        Outcome::Exited(code) => ("failed", Some(*code), None),
        Outcome::Signalled(signal) => ("failed", None, Some(format!("ended by signal {signal}"))),
        Outcome::TimedOut => ("timed-out", None, None),
        Outcome::Stalled => ("stalled", None, None),
        Outcome::OutOfMemory => ("out-of-memory", None, None),
        Outcome::Stopped => ("stopped", None, None),
        Outcome::Infrastructure(why) => ("infrastructure", None, Some(why.clone())),
        Outcome::Policy(why) => ("policy", None, Some(why.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_own_word() {
        for (known, word) in STATUSES {
            assert_eq!(status(known), word);
            assert_eq!(parse_status(&word.to_lowercase()), Some(known));
        }
        assert_eq!(parse_status("DONE"), None);
    }
}
