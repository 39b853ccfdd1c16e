//! The dashboard in a real Chromium, as a person uses it: through `devstack dashboard open`, over a real node that runs
//! a real plan. Where there is no Chromium, that is said loudly and the tests pass. Pictures of every page are left in
//! `target/browser-screenshots`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../story/bench.rs"]
mod bench;
mod chromium;
mod desk;
mod hostile;
mod live;
mod login;
mod look;
#[path = "../harness/loopback.rs"]
mod loopback;
mod plain;
