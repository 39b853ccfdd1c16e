//! What can go wrong at the link's own functions, by what the caller can do.
//! Deliberately absent: why a session ended; that is told to the receiver and to the log.

use std::{io, net::SocketAddr};

use crate::frame::BODY_MAX;

/// The link was not started.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Correct the limits.
    #[error("these limits cannot work: {0}")]
    Limits(&'static str),
    /// Another process listens there, or it is no address of this machine: change `listen`.
    #[error("cannot listen for links on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// An actor did not start: see the reason.
    #[error("the actors of the link did not start: {0}")]
    Actors(String),
}

/// A message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no session with that node now: what matters is said again when there is one.
    #[error("there is no link to that node")]
    NotConnected,
    /// The node consumes nothing. The session ends, and the next one begins with a reconciliation.
    #[error("that node does not keep up; the session with it ends")]
    NoCredit,
    /// Larger than a frame: it must travel over HTTPS.
    #[error("a message of {0} bytes, {BODY_MAX} is the limit of a frame")]
    TooLarge(usize),
}

/// A call has no answer, or a negative one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not sent.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// No answer in time. Whether it was carried out is unknown: ask again with the same request id.
    #[error("no answer in time")]
    TimedOut,
    /// The session ended before the answer. Whether it was carried out is unknown: ask again with the same request id.
    #[error("the link ended before the answer")]
    Disconnected,
    /// The other end says no.
    #[error("{0}")]
    Refused(String),
}
