//! What the node and the shim agree on: the order ([`spec::Spec`]), the answer ([`spec::ExitRecord`]), the files of an
//! attempt ([`layout`]), how processes are identified ([`procs`]), how secrets are spelled ([`spellings`]) and masked
//! ([`redact`]), and which confinement must be in force around an agent ([`confinement`]).
//!
//! Deliberately absent: everything the shim does (its binary) and everything the node does (its `runtime`).

pub mod confinement;
pub mod layout;
pub mod procs;
pub mod redact;
pub mod spec;
pub mod spellings;
pub mod tool;
