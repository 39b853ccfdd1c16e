//! The HTTP API over a real unix socket, with the real engine behind it and everything below replaced.

#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, reason = "a test crate")]

mod client;
mod fake;
mod routes;
mod socket;
mod streams;
