//! The pure engine of devstack (layer L0): the commands ([`command`]), what happened ([`fact`]), what the world must do
//! ([`effect`]), the records between them, and the [`Engine`] that decides.
//!
//! Architecture invariant: no async, no clock, no randomness, no I/O, no vendor type. The same facts give the
//! same state everywhere.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
pub mod attempt;
pub mod bounds;
pub mod budget;
pub mod command;
pub mod effect;
mod engine;
pub mod fact;
mod fit;
pub mod graph;
pub mod ids;
pub mod invariants;
mod merge_queue;
pub mod offer;
pub mod pins;
mod placement;
pub mod plan;
pub mod presence;
pub mod profile;
pub mod prompt;
mod ready;
mod reconcile;
pub mod record;
mod rejection;
mod room;

pub use answer::Answer;
pub use engine::{
    Backoff, Config, Counts, Damaged, Decision, Engine, Proposal, Sizer, Spot, WAITING_FOR, Waiting, Watch,
};
pub use rejection::{Class, Problem, Rejection};
