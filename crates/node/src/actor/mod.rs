//! What all actors of devstack share: an address that survives restarts, a fence against jobs of earlier generations,
//! and the limit on restarts. Deliberately absent: any actor, and anything remote.

mod address;
mod fence;
mod restart;

pub use address::{Address, Gone};
pub use fence::{Fence, Fenced, Generations};
pub use restart::{RestartPolicy, RestartVerdict, Restarts};
