//! The words of the contract in answers, with related values.
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
pub const STATUSES: [Status; 8] = Status::ALL;

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

/// Parses the word of a status, in any case.
pub fn parse_status(word: &str) -> Option<Status> {
    STATUSES.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(word))
}

/// The word of a stage.
pub fn stage(stage: Stage) -> &'static str {
    stage.as_str()
}

/// The word of an outcome, the exit code, and further details.
pub fn outcome(outcome: &Outcome) -> (&'static str, Option<i32>, Option<String>) {
    let (exit, why) = match outcome {
        Outcome::Exited(code) => (Some(*code), None),
        Outcome::Signalled(signal) => (None, Some(format!("ended by signal {signal}"))),
        Outcome::Infrastructure(why) | Outcome::Policy(why) => (None, Some(why.clone())),
        Outcome::RateLimited { reset } => {
            (None, reset.map(|at| format!("the provider can be used again at {}", super::Time::from(at))))
        }
        _ => (None, None),
    };
    (outcome.word(), exit, why)
}

/// Converts millionths of a US dollar to dollars.
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
