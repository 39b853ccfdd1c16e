//! The runtime against real processes. `conformance` is what every runtime must do.

mod adopt;
mod conformance;
mod git;
mod harness;
mod process;
mod speed;
