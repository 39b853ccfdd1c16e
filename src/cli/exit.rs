//! How a command ends: the exit codes of the contract, and errors that carry one.

use std::process::ExitCode;

use crate::{
    config::problem::{Problem, Problems},
    gateway::{ApiError, https::HttpsError},
};

/// Codes of the CLI itself. Stable.
pub(super) mod code {
    /// A command line that asks for something impossible.
    pub(crate) const USAGE: &str = "DS0401";
    /// No node, and no `.devstack` to start one on.
    pub(crate) const UNREACHABLE: &str = "DS0402";
    /// `--timeout` ran out.
    pub(crate) const TIMED_OUT: &str = "DS0403";
    /// Files, processes, terminals.
    pub(crate) const FAILURE: &str = "DS0404";
    /// The same short id in several projects.
    pub(crate) const AMBIGUOUS: &str = "DS0405";
    /// Somebody answers who is not the cluster.
    pub(crate) const UNTRUSTED: &str = "DS0411";
    /// No engine for `--runtime auto`.
    pub(crate) const NO_ENGINE: &str = "DS0406";
    /// `up` beside a running node.
    pub(crate) const NODE_RUNS: &str = "DS0408";
    /// A node that cannot run attempts on this machine as it is.
    pub const REFUSED_HERE: &str = "DS0409";
    /// A file that is no backup, or a damaged one.
    pub(crate) const BACKUP: &str = "DS0420";
    /// A place that is taken: nothing is overwritten.
    pub(crate) const PLACE_TAKEN: &str = "DS0421";
    /// A terminal is needed, or must not be there.
    pub(crate) const TERMINAL: &str = "DS0422";
    /// A task list of another tool that cannot be taken.
    pub(crate) const TASK_LIST: &str = "DS0113";
    /// A file that would be written over.
    pub(crate) const FILE_EXISTS: &str = "DS0412";
    /// The same id nowhere; the engine's own code for the same.
    pub(crate) const NO_TASK: &str = "DS0202";
}

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It failed.
    Failure = 1,
    /// A wrong command line, or a plan or configuration that validation refused.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Not allowed.
    NotAllowed = 4,
    /// Valid, but refused by the present state.
    Refused = 5,
    /// No node answers.
    Unreachable = 6,
    /// Nothing can move without a person.
    Waiting = 7,
    /// It took too long.
    TimedOut = 8,
    /// A person interrupted it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error to show, and the code to exit with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong; its HTTP status is of no interest here.
    pub error: ApiError,
}

impl CliError {
    /// An error with this code.
    pub fn new(exit: Exit, problem: Problem) -> Self {
        Self { exit, error: ApiError::new(0, problem) }
    }

    /// 2: the command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Problem::new(code::USAGE, message))
    }

    /// 1: something outside devstack failed.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, Problem::new(code::FAILURE, message))
    }

    /// 6: there is no node.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, Problem::new(code::UNREACHABLE, message))
    }

    /// 8: `--timeout` ran out.
    pub fn timed_out(limit: std::time::Duration) -> Self {
        let message =
            format!("it took longer than {}", crate::config::units::format_duration(limit.as_millis() as u64));
        Self::new(Exit::TimedOut, Problem::new(code::TIMED_OUT, message).hint("give it more with --timeout"))
    }

    /// With another hint.
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.error.problem.hint = Some(hint.into());
        self
    }
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        let exit = match error.status {
            400 | 405 | 411 | 413 | 415 | 422 => Exit::Usage,
            401 | 403 => Exit::NotAllowed,
            404 => Exit::NotFound,
            409 | 429 | 410 | 412 => Exit::Refused,
            502 | 503 => Exit::Unreachable,
            408 | 504 => Exit::TimedOut,
            _ => Exit::Failure,
        };
        Self { exit, error }
    }
}

impl From<HttpsError> for CliError {
    fn from(error: HttpsError) -> Self {
        let message = error.to_string();
        match error {
            HttpsError::Address(_) => Self::usage(message),
            HttpsError::Unreachable { .. } => {
                Self::unreachable(message).hint("is the node running, and its port open? [api] listen in its node.toml")
            }
            HttpsError::Untrusted { .. } => {
                let hint = "nothing was sent; compare the fingerprint with `devstack cluster status` on the Taskmaster";
                Self::new(Exit::Unreachable, Problem::new(code::UNTRUSTED, message).hint(hint))
            }
            HttpsError::Refused(error) => error.into(),
            HttpsError::Lost { .. } => {
                Self::unreachable(message).hint("whether it was carried out is unknown: look before repeating it")
            }
        }
    }
}

impl From<Problems> for CliError {
    /// 2: a file that validation refused.
    fn from(problems: Problems) -> Self {
        Self { exit: Exit::Usage, error: problems.into() }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::failure(error.to_string())
    }
}
