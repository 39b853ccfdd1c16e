//! What a node tells the world about itself: metrics, notices, logs and traces, each read by the program that reads it
//! in earnest or by a receiver of the test.
//! Deliberately absent: what the numbers mean for a decision; nothing is decided by them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod boss;
mod http;
#[path = "../harness/loopback.rs"]
mod loopback;
mod metrics;
mod traces;
mod webhook;
