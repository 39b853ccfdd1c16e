//! The runtime against real processes. `conformance` is what every runtime must do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod adopt;
#[path = "../harness/calls.rs"]
mod calls;
mod confinement;
mod conformance;
#[path = "../harness/containers.rs"]
#[allow(dead_code, reason = "shared with the tests of containers")]
mod containers;
mod endings;
mod faults;
mod git;
mod harness;
mod harvest;
mod process;
mod profile;
mod speed;
mod tee;
mod upgrade;
