//! The stable words of the contract for stages and outcomes; statuses and reasons know their own.
//! Deliberately absent: what they mean.

use std::borrow::Cow;

use devstack_dag::{
    attempt::{Outcome, Stage},
    record::Status,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// Statuses in the order of a task's life.
pub const STATUSES: [Status; 8] = [
    Status::Todo,
    Status::Wip,
    Status::Testing,
    Status::Review,
    Status::Approved,
    Status::Completed,
    Status::Blocked,
    Status::Rejected,
];

/// The description of a status.
pub struct StatusWord;

impl PartialSchema for StatusWord {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(STATUSES.map(Status::as_str))).into()
    }
}

impl ToSchema for StatusWord {
    fn name() -> Cow<'static, str> {
        "Status".into()
    }
}

/// The status of a word, in any case.
pub fn parse_status(word: &str) -> Option<Status> {
    STATUSES.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(word))
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
        Outcome::OutOfDisk => ("out-of-disk", None, None),
        Outcome::OutOfProcesses => ("out-of-processes", None, None),
        Outcome::Stopped => ("stopped", None, None),
        Outcome::Infrastructure(why) => ("infrastructure", None, Some(why.clone())),
        Outcome::Policy(why) => ("policy", None, Some(why.clone())),
        Outcome::RateLimited { reset } => {
            let why = reset.map(|at| format!("the provider names {}", super::Time::from(at)));
            ("rate-limited", None, why)
        }
    }
}

/// Millionths of a US dollar as dollars.
pub fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_own_word() {
        for status in STATUSES {
            assert_eq!(parse_status(&status.as_str().to_lowercase()), Some(status));
        }
        assert_eq!(parse_status("DONE"), None);
    }
}
