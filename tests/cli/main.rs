//! The real `devstack` command against a real socket: exit codes, what goes where, and how a node is found.

#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, dead_code, reason = "a test crate that shares a fake")]

mod cluster;
mod commands;
mod dashboard;
mod exchange;
#[path = "../api/fake.rs"]
mod fake;
mod finding;
mod json;
#[path = "../harness/loopback.rs"]
mod loopback;
mod node;
mod remote;
mod terminal;
mod waiting;
mod watch;
