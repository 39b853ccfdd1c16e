//! The log of changes, as the API shows it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Entry;

/// A change that was asked for, done or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Counts from 1.
    pub number: u64,
    /// When it ended, RFC 3339.
    pub at: String,
    /// The name of a token or of a node; `null`: there was none, or the socket was used.
    pub who: Option<String>,
    /// How they came: `token`, `session` (a browser), `certificate`, `socket`, `process` or `stranger`.
    pub via: String,
    /// What they may; `null`: nobody knows who it was.
    pub role: Option<String>,
    /// The user at the other end of the socket.
    pub uid: Option<u32>,
    /// The address at the other end of TCP.
    pub address: Option<String>,
    /// `POST`.
    pub method: String,
    /// The path as this description has it; `null`: there is no such path.
    pub route: Option<String>,
    /// The path that was asked for, bounded, without anything that looks like a token.
    pub target: String,
    /// The status of the answer.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The `x-request-id` of the answer.
    pub request: String,
    /// Refusals of strangers that were left out before this one, because there were too many.
    pub left_out: u64,
}

impl From<Entry> for Change {
    fn from(entry: Entry) -> Self {
        let Entry { number, at, who, via, role, uid, address, method, route, target, status, code, request, left_out } =
            entry;
        Self { number, at, who, via, role, uid, address, method, route, target, status, code, request, left_out }
    }
}
