//! The real binary under faults: killed at every named point and at random moments, a disk that fills up and one that
//! is full. After each the same command finishes the plan, and the same checks hold.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod disk;
mod idle;
mod kills;
#[path = "../harness/node.rs"]
mod node;
mod room;
mod secret;
