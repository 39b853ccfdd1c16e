//! What is shipped to run a node for good: units, users, example configurations, and what the daemon tells its manager.
//! Deliberately absent: a systemd of this machine; the one that runs is in a container.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod elk;
mod examples;
mod manager;
mod package;
#[path = "../harness/node.rs"]
mod site;
mod units;

use std::path::{Path, PathBuf};

/// A folder of `deploy/`, and its files that end so.
fn shipped(folder: &str, ending: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(folder);
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}
