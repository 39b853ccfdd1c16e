//! An agent host's end of its link: reports go to the Taskmaster on another machine, and orders come in. Results, logs,
//! texts and commits travel over HTTPS.
//!
//! Nothing here survives a restart: unacknowledged reports are sent again on the next connection, from the files of the
//! attempts. Deliberately absent: the meaning of an order (the AgentHost knows it).

mod bulk;
mod deliver;
mod logs;
mod receiver;
mod supply;

pub use bulk::{Bulk, BulkLimits};
pub use receiver::{Uplink, UplinkConfig};
pub use supply::Remote;
