//! The engine's rules, one by one: a command in, a list of effects out.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod attempts;
mod briefs;
#[path = "../common/mod.rs"]
mod common;
mod conflicts;
mod desk;
mod held;
mod hosts;
mod keep;
mod members;
mod merges;
mod people;
mod plans;
mod providers;
mod returns;
mod silence;
mod source;
mod spending;
