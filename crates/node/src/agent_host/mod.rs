//! The AgentHost actor and its Attempts: the slots of one machine.

mod actor;
mod attempt;
mod flow;
mod host;
mod keyring;
mod left;
pub mod message;
mod reading;
mod seeds;
mod shelf;
pub mod superior;
pub mod supply;
mod task_file;

pub use actor::AgentHost;
pub use host::Host;
pub use keyring::Keyring;
pub use seeds::Seeds;
pub use shelf::Shelf;
pub use superior::Superior;
pub use supply::Supply;
