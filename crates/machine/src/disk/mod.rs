//! Room on the disk: how much there is, and how much is kept free (`disk_reserve`) so that acknowledged work can always
//! be written. Below the reserve an agent host takes no new attempt. Below half of the reserve a Taskmaster takes no
//! plan and no upload; reports from hosts and requests that end something are still accepted. The same rules hold for
//! inodes. Deliberately absent: freeing room (each owner drops its own caches), and a timer: a user of this module runs
//! one only while something runs or room is short.

mod level;
mod look;

pub use level::{Level, Reserve, Room};
pub use look::{Disk, Seen};
