//! Several hosts as real processes on loopback: a Taskmaster and agent hosts that are killed, frozen, cut off, slow or
//! hostile. After each story one checker looks at what the agents wrote down, at the history and at the hub.
//!
//! Guarantees of architecture.md that are held here across machines: 2 (dependencies), 3 (newest attempt only), 4
//! (COMPLETED means merged), 5 (attempts stay reachable), 7 (nothing is left), 8 (no secret leaves its host).
//! Deliberately absent: links alone (cluster/tests/links) and one machine (tests/faults).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod agents;
mod bulk;
mod clock;
mod cluster;
mod crowd;
mod evil;
mod frozen;
mod history;
mod hostile;
mod leaving;
mod limits;
#[path = "../harness/loopback.rs"]
mod loopback;
mod members;
mod partitions;
mod process;
mod proxy;
mod restarts;
mod secrets;
mod silence;
mod taskmaster;
