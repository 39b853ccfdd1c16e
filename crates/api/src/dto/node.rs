//! Requests between the nodes of a cluster over HTTPS. Not for users: the path has the only version.

use serde::{Deserialize, Serialize};

/// A header of a download: hexadecimal BLAKE3 of the whole file.
pub const DIGEST: &str = "x-devstack-digest";
/// A header of a download: size of the whole file in bytes.
pub const SIZE: &str = "x-devstack-size";

/// The hub of a project, for a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRepository {
    /// The integration branch.
    pub integration: String,
    /// The head of the branch.
    pub head: String,
}

/// The query of an upload of a part of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Hexadecimal BLAKE3 of the whole result.
    pub digest: String,
    /// Size of the whole result in bytes.
    pub size: u64,
    /// The offset of the part.
    pub offset: u64,
}

/// The progress of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The number of bytes received, from the beginning.
    pub bytes: u64,
    /// Whether the result is complete and matches its digest.
    pub complete: bool,
}
