//! Attempts in real containers of a real engine: what they find, what a hostile one gets done, what becomes of them
//! when the engine fails. Outcomes are asserted from outside: by the engine's own command line, the kernel, the files
//! of the host.
//!
//! Guarantees of architecture.md that are held here: 6 (deadlines), 7 (no leftovers, nothing foreign touched), 8
//! (secrets).
//! Deliberately absent: what every runtime promises (tests/runtime), plans and merges (tests/hostile).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod adopt;
#[path = "../harness/calls.rs"]
mod calls;
mod confinement;
#[path = "../harness/containers.rs"]
mod containers;
mod contract;
mod deadlines;
mod engine;
mod faults;
mod foreign;
mod forgery;
mod guard;
mod hardening;
#[path = "../runtime/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the runtime")]
mod harness;
mod limits;
mod logging;
mod network;
mod node;
mod root;
mod secrets;
mod shards;
mod sight;
#[path = "../harness/node.rs"]
mod site;
mod storage;
mod world;
