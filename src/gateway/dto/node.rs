//! What nodes of a cluster ask each other over HTTPS. Not for people: no version stands in it but the path's.

use serde::{Deserialize, Serialize};

/// A header of a download: hexadecimal BLAKE3 of the whole.
pub const DIGEST: &str = "x-devstack-digest";
/// A header of a download: bytes of the whole.
pub const SIZE: &str = "x-devstack-size";

/// A project's hub, for a mirror of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRepository {
    /// The integration branch.
    pub integration: String,
    /// Its head.
    pub head: String,
}

/// Which part of a result comes: a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Hexadecimal BLAKE3 of the whole.
    pub digest: String,
    /// Bytes of the whole.
    pub size: u64,
    /// Where the part begins.
    pub offset: u64,
}

/// How much of a result is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Bytes, from the beginning.
    pub bytes: u64,
    /// Is it whole, and what its digest says?
    pub complete: bool,
}
