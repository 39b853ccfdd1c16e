//! Room on the disk: how much there is, and how much is kept free (`disk_reserve`) so that what was acknowledged can always
//! be written. Below the reserve an agent host takes no new attempt, below half of it a Taskmaster takes no plan and no
//! upload; what comes from hosts, and what ends something, goes on. The same for inodes.
//! Deliberately absent: making room (each owner drops its own caches), and a timer: who needs one has it only while
//! something runs or room is short.

mod level;
mod look;

pub use level::{Level, Reserve, Room};
pub use look::{Disk, Seen};
