//! The requests to a project's DevOps actor. Local only.

use ractor::Message;

use super::jobs::Done;
pub use super::jobs::Job;

/// Messages of a DevOps actor. Local only.
pub enum DevopsMessage {
    /// Do this, after everything that was requested before.
    Do(Job),
    /// The running job ended.
    JobDone(Done),
}

impl Message for DevopsMessage {}
