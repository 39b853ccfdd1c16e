//! The actors' supervision, in the real binary with injected panics and in this process with a clock of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod clock;
mod limits;
#[path = "../harness/node.rs"]
mod node;
mod once;
mod panics;
