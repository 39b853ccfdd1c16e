//! What every actor of devstack shares: how it is reached over restarts, how its old jobs are fenced, and how
//! often it may be restarted. Deliberately absent: any actor, and anything remote.

mod address;
mod fence;
mod restart;

pub use address::{Address, Gone};
pub use fence::{Fence, Fenced, Generations};
pub use restart::{RestartPolicy, RestartVerdict, Restarts};
