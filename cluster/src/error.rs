//! Errors of the link's own functions, grouped by what the caller can do about them. Deliberately absent: the reason
//! why a session ended; the receiver and the log get that reason.

use std::{io, net::SocketAddr};

use crate::frame::BODY_MAX;

/// Why the link did not start.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Correct the limits.
    #[error("invalid limits: {0}")]
    Limits(&'static str),
    /// Another process listens there, or it is not an address of this machine: change `listen`.
    #[error("cannot listen for links on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// An actor did not start: see the reason.
    #[error("the actors of the link did not start: {0}")]
    Actors(String),
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no session with that node now. Important messages are sent again when there is one.
    #[error("no link to that node")]
    NotConnected,
    /// The node consumes nothing. Its session ends, and the next one begins by reconciling.
    #[error("that node reads too slowly; its session ends")]
    NoCredit,
    /// Larger than a frame: send it over HTTPS.
    #[error("a message has {0} bytes, but a frame has at most {BODY_MAX}")]
    TooLarge(usize),
}

/// A call has no answer, or a negative answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call was not sent.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// No answer in time. The outcome is unknown: ask again with the same request id.
    #[error("no answer in time")]
    TimedOut,
    /// The session ended before the answer. The outcome is unknown: ask again with the same request id.
    #[error("the link ended before the answer")]
    Disconnected,
    /// The other end refused.
    #[error("{0}")]
    Refused(String),
}
