//! The pure engine of devstack (layer L0): what may be asked ([`command`]), what happened ([`fact`]), what the
//! world must do ([`effect`]), and the records between them.
//!
//! Architecture invariant: no async, no clock, no randomness, no I/O, no vendor type. The same facts give the
//! same state everywhere.

pub mod attempt;
pub mod command;
pub mod effect;
pub mod fact;
pub mod ids;
pub mod plan;
pub mod record;
