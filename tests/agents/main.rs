//! The agent command lines that people use, for real: in containers of the docker runtime, by their shipped profiles,
//! against a scripted model of our own. What is proven here may say `tested = true` in its profile.
//!
//! Deliberately absent: agents that attack (tests/hostile), and quality of work: the model is scripted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../story/bench.rs"]
mod bench;
mod claude;
mod net;
mod stub;
mod work;
mod writes;
