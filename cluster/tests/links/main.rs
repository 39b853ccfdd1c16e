//! Links over TLS on loopback: honest nodes that talk, die, freeze and come back, and hostile nodes.
//! Deliberately absent: sleeps; every test waits for an event.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod hostile;
mod node;
mod pki;
mod processes;
mod raw;
mod talk;
