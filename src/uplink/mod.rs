//! An agent host's end of its link: reports go to the Taskmaster of another machine, orders come in. Results, logs, texts
//! and commits travel over HTTPS.
//!
//! Nothing here is kept over a restart: what was not acknowledged is reported again on the next connection, from the
//! files of the attempts.
//! Deliberately absent: what an order means (the AgentHost knows).

mod bulk;
mod deliver;
mod logs;
mod receiver;
mod supply;

pub use bulk::{Bulk, BulkLimits};
pub use receiver::{Uplink, UplinkConfig};
pub use supply::Remote;
