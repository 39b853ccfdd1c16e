//! How a command ends: the exit codes of the contract, and errors with an exit code.

use std::process::ExitCode;

use devstack_api::{ApiError, https::HttpsError};
use devstack_config::problem::{Problem, Problems};

/// Codes of the CLI itself. Stable.
pub(super) mod code {
    /// A command line that requests something impossible.
    pub(crate) const USAGE: &str = "DS0401";
    /// No node is running, and there is no `.devstack` to start one in.
    pub(crate) const UNREACHABLE: &str = "DS0402";
    /// `--timeout` expired.
    pub(crate) const TIMED_OUT: &str = "DS0403";
    /// A failure of a file, a process or a terminal.
    pub(crate) const FAILURE: &str = "DS0404";
    /// A short id that exists in several projects.
    pub(crate) const AMBIGUOUS: &str = "DS0405";
    /// Another server answers instead of the cluster.
    pub(crate) const UNTRUSTED: &str = "DS0411";
    /// No container engine for `--runtime auto`.
    pub(crate) const NO_ENGINE: &str = "DS0406";
    /// `up` while a node is already running.
    pub(crate) const NODE_RUNS: &str = "DS0408";
    /// A node that cannot run attempts on this machine in its present state.
    pub const REFUSED_HERE: &str = "DS0409";
    /// A file that is not a backup, or a damaged backup.
    pub(crate) const BACKUP: &str = "DS0420";
    /// A path that is already in use: nothing is overwritten.
    pub(crate) const PLACE_TAKEN: &str = "DS0421";
    /// A command that needs a terminal, or must not write to one.
    pub(crate) const TERMINAL: &str = "DS0422";
    /// A task list of another tool that cannot be imported.
    pub(crate) const TASK_LIST: &str = "DS0113";
    /// A file that would be overwritten.
    pub(crate) const FILE_EXISTS: &str = "DS0412";
    /// No task or merge has this id.
    pub(crate) const NO_TASK: &str = "DS0202";
}

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Ok = 0,
    /// Failure.
    Failure = 1,
    /// A wrong command line, or a plan or configuration that validation refused.
    Usage = 2,
    /// The named thing does not exist.
    NotFound = 3,
    /// Not allowed.
    NotAllowed = 4,
    /// Valid, but refused in the present state.
    Refused = 5,
    /// No node answers.
    Unreachable = 6,
    /// Only people can continue.
    Waiting = 7,
    /// The command took too long.
    TimedOut = 8,
    /// The user interrupted the command.
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
    /// The error; its HTTP status is not used here.
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

    /// 6: no node answers.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, Problem::new(code::UNREACHABLE, message))
    }

    /// 8: `--timeout` expired.
    pub fn timed_out(limit: std::time::Duration) -> Self {
        let message = format!(
            "the command took longer than {}",
            devstack_config::units::format_duration(limit.as_millis() as u64)
        );
        Self::new(Exit::TimedOut, Problem::new(code::TIMED_OUT, message).hint("allow more time with --timeout"))
    }

    /// Replaces the hint.
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
            HttpsError::Unreachable { .. } => Self::unreachable(message)
                .hint("check that the node is running and that its port is open: [api] listen in its node.toml"),
            HttpsError::Untrusted { .. } => {
                let hint = "nothing was sent; compare the fingerprint with `devstack cluster status` on the Taskmaster";
                Self::new(Exit::Unreachable, Problem::new(code::UNTRUSTED, message).hint(hint))
            }
            HttpsError::Refused(error) => error.into(),
            HttpsError::Lost { .. } => {
                Self::unreachable(message).hint("the request may have been carried out: check before you repeat it")
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
