//! The API's form of the audit log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use devstack_members::audit::Entry;

/// A requested change, done or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Counts from 1.
    pub number: u64,
    /// When the request ended, RFC 3339.
    pub at: String,
    /// The name of the token or node; `null`: no token, or the socket.
    pub who: Option<String>,
    /// How the caller was identified: `token`, `session` (a browser), `certificate`, `socket`, `process` or `stranger`.
    pub via: String,
    /// The role of the caller; `null`: the caller is unknown.
    pub role: Option<String>,
    /// The user at the other end of the socket.
    pub uid: Option<u32>,
    /// The address at the other end of TCP.
    pub address: Option<String>,
    /// `POST`.
    pub method: String,
    /// The path as in this description; `null`: an unknown path.
    pub route: Option<String>,
    /// The requested path, cut to a limit, without anything that looks like a token.
    pub target: String,
    /// The status of the response.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The `x-request-id` of the response.
    pub request: String,
    /// The number of refusals of strangers that were left out before this line, because there were too many.
    pub left_out: u64,
}

impl From<Entry> for Change {
    fn from(entry: Entry) -> Self {
        let Entry { number, at, who, via, role, uid, address, method, route, target, status, code, request, left_out } =
            entry;
        Self { number, at, who, via, role, uid, address, method, route, target, status, code, request, left_out }
    }
}
