//! The Taskmaster actor: holds the DAG, is the only writer of the store, supervises one DevOps actor per project.

mod actor;
mod hosts;
mod leases;
mod ledger;
mod measures;
pub mod message;
mod outbox;
mod projects;
mod prompts;
#[cfg(test)]
mod tests;

pub use actor::{Joined, StartDevops, Taskmaster, TaskmasterArguments};
pub use ledger::Ledger;
pub use outbox::{HostRoute, Outbox, Unreachable};
