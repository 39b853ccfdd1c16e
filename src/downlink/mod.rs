//! The Taskmaster's end of links: orders go to hosts on other machines, reports come in, and results and logs that hosts
//! bring over HTTPS are taken.
//!
//! A host speaks for itself alone: what it says of another is refused, and its link is cut.
//! Deliberately absent: leases (the Taskmaster has them) and what a report means (the engine decides).

mod given;
mod logs;
mod receiver;
mod results;
mod uploads;

pub use given::Readable;
pub use receiver::Downlink;
pub use results::Results;
pub use uploads::{Part, Received, UploadError, Uploads};
