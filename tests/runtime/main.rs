//! The runtime against real processes. `conformance` is what every runtime must do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod adopt;
mod conformance;
mod git;
mod harness;
mod process;
mod profile;
mod speed;
