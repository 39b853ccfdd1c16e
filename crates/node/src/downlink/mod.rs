//! The Taskmaster's end of links: sends orders to hosts on other machines, receives their reports, and accepts the
//! results and logs that hosts upload over HTTPS.
//!
//! A host speaks only for itself: a claim about another host is refused, and the link is cut. Deliberately absent:
//! leases (the Taskmaster has them) and the meaning of a report (the engine decides).

mod given;
mod logs;
mod receiver;
mod results;
mod uploads;

pub use given::Readable;
pub use receiver::Downlink;
pub use results::Results;
pub use uploads::{Part, Received, UploadError, Uploads};
