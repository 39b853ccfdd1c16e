//! Finds the program of a helper: this program itself, with a role in its hidden first argument. Deliberately absent:
//! starting it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether this process runs a program that can be started as a helper.
static CAPABLE: AtomicBool = AtomicBool::new(false);

/// The running program, even if an upgrade replaced its file: both ends of a pipe have the same version.
const SELF: &str = "/proc/self/exe";
/// The helper program where the running program cannot be one: in tests and benches.
const OTHER: &str = "devstack-node";

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// Any program that calls [`super::serve`].
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self { path: path.into(), arguments: arguments.iter().map(OsString::from).collect() }
    }

    /// The running program as the helper of this name; a test uses the `devstack-node` that was built with it.
    pub fn here(name: &str) -> Self {
        let path = if CAPABLE.load(Ordering::Relaxed) { SELF.into() } else { beside() };
        Self::new(path, &[name])
    }
}

/// Call this first in `main` of a program that can be started as a helper. Returns whether it was started as this
/// helper.
pub(super) fn is_asked_for(name: &str) -> bool {
    CAPABLE.store(true, Ordering::Relaxed);
    std::env::args_os().nth(1).is_some_and(|argument| argument == name)
}

/// Test binaries are in a directory below the programs.
fn beside() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let near = here.ancestors().skip(1).take(2).map(|folder| folder.join(OTHER)).find(|file| file.is_file());
    near.unwrap_or_else(|| Path::new(SELF).to_owned())
}
