//! The store against its contract, on real disks and with real kills.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod blobs;
mod conformance;
mod corruption;
mod faulty;
mod golden;
mod journal;
mod kill;
mod limits;
mod sample;
mod transfer;
