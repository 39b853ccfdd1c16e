//! Which program a helper is: this one again, as what its hidden first argument says.
//! Deliberately absent: starting it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// This process runs a program that can be started as a helper.
static CAPABLE: AtomicBool = AtomicBool::new(false);

/// The running program, also when its file was replaced by an upgrade: both ends of a pipe are of one version.
const SELF: &str = "/proc/self/exe";
/// The program that is a helper where the running one is not: in tests and benches.
const OTHER: &str = "devstack-node";

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// Any program that serves ([`super::serve`]).
    pub fn new(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self { path: path.into(), arguments: arguments.iter().map(OsString::from).collect() }
    }

    /// The running program as the helper of this name; a test uses the `devstack-node` that was built with it.
    pub fn here(name: &str) -> Self {
        let path = if CAPABLE.load(Ordering::Relaxed) { SELF.into() } else { beside() };
        Self::new(path, &[name])
    }
}

/// To be called first in `main` of a program that can be started as a helper: was it, as this one?
pub(super) fn is_asked_for(name: &str) -> bool {
    CAPABLE.store(true, Ordering::Relaxed);
    std::env::args_os().nth(1).is_some_and(|argument| argument == name)
}

/// Test binaries lie in a folder below the programs.
fn beside() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let near = here.ancestors().skip(1).take(2).map(|folder| folder.join(OTHER)).find(|file| file.is_file());
    near.unwrap_or_else(|| Path::new(SELF).to_owned())
}
