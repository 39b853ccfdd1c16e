//! The runtime against real processes. `conformance` is what every runtime must do.

mod conformance;
mod harness;
