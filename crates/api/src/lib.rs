//! The parts that server and clients of the API share: the shapes of bodies, the errors, and HTTP clients.
//!
//! | module | content |
//! |---|---|
//! | [`dto`] | bodies of requests and answers |
//! | [`bounds`] | limits on the fields of a request |
//! | [`error`] | errors with their codes and statuses |
//! | [`https`] | a client of a node's API over TLS |
//! | [`outgoing`] | posts to external receivers: webhooks, traces |
//!
//! Deliberately absent: routes and pages (`devstack-gateway`), and the handling of answers in commands
//! (`devstack-cli`).

use std::{io, pin::Pin};

use axum::body::Bytes;
use futures::Stream;

pub mod bounds;
pub mod dto;
pub mod error;
pub mod https;
pub mod outgoing;
mod refusals;

pub use error::ApiError;

/// A stream of bytes: logs, bundles.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
