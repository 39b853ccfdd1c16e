//! The HTTP API over a real unix socket and over TLS, with the real engine behind it and everything below replaced.

#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, reason = "a test crate")]

mod access;
mod audit;
mod browser;
mod client;
mod crowd;
mod dashboard;
mod dashboard_scale;
mod fake;
mod hosts;
mod joining;
mod limits;
mod lists;
mod openapi;
mod pictures;
mod remote;
mod routes;
mod socket;
mod streams;
mod tls;
