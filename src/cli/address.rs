//! Which node to ask: an address, else the nearest `.devstack`.

use std::path::{Path, PathBuf};

use super::{CliError, Exit, Workdir, exit::code};
use crate::config::problem::Problem;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A node that must run.
    Socket(PathBuf),
    /// A state directory, whose node may run.
    Dir(Workdir),
}

/// The target of a command that starts at `from`.
pub(super) fn target(address: Option<&str>, from: &Path) -> Result<Target, CliError> {
    match address {
        Some(address) => parse(address).map(Target::Socket),
        None => Workdir::find(from).map(Target::Dir).ok_or_else(|| {
            CliError::unreachable(format!("there is no {} in {} or above it", super::workdir::NAME, from.display()))
                .hint(
                    "run a plan with `devstack run PLAN`, start a node with `devstack up`, or name one with --address",
                )
        }),
    }
}

/// `unix:///path`.
pub(super) fn parse(address: &str) -> Result<PathBuf, CliError> {
    let hint = "write unix:///path/to/api.sock";
    match address.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(("http" | "https", _)) => {
            let message = format!("addresses such as `{address}` are not built yet");
            Err(CliError::new(Exit::Usage, Problem::new(code::NOT_BUILT, message).hint(hint)))
        }
        _ => Err(CliError::usage(format!("`{address}` is no address")).hint(hint)),
    }
}
