//! A line of the audit log.

use serde::{Deserialize, Serialize};

/// The longest stored path, in characters.
const TARGET_MAX: usize = 512;

/// Who requested which change, when, and how it ended. Fields are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Line number, counted from 1 over all files. The writer assigns it.
    #[serde(default)]
    pub number: u64,
    /// When the request ended, RFC 3339.
    pub at: String,
    /// The name of a token or of a node; `null` if the caller had none or used the socket.
    pub who: Option<String>,
    /// How the caller connected: `token`, `session` (a browser), `certificate`, `socket`, `process` or `stranger`.
    pub via: String,
    /// The caller's role.
    pub role: Option<String>,
    /// The user id at the other end of the socket.
    pub uid: Option<u32>,
    /// The peer address of a TCP connection.
    pub address: Option<String>,
    /// The HTTP method, for example `POST`.
    pub method: String,
    /// The entry in the table of routes; `null` if there is none.
    pub route: Option<String>,
    /// The path, see [`target`].
    pub target: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The error code of a refusal.
    pub code: Option<String>,
    /// The answer's `x-request-id`.
    pub request: String,
    /// Number of strangers' refusals that were left out before this line because there were too many.
    #[serde(default)]
    pub left_out: u64,
}

/// A path as it is stored: bounded, and without parts that may be a secret. Putting a token into a path is a mistake,
/// but it happens.
pub fn target(path: &str) -> String {
    let shown = |part: &str| if part.contains("dst1") { "[token]".to_owned() } else { part.to_owned() };
    let kept: Vec<String> = path.split('/').map(shown).collect();
    kept.join("/").chars().take(TARGET_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_path_is_not_kept() {
        assert_eq!(target("/v1/tokens/ci/revoke"), "/v1/tokens/ci/revoke");
        assert_eq!(target("/v1/tokens/dst1.0f.secret/revoke"), "/v1/tokens/[token]/revoke");
        assert_eq!(target("/v1/tokens/%20dst1.0f.secret"), "/v1/tokens/[token]");
        assert_eq!(target(&"/ä".repeat(1000)).chars().count(), TARGET_MAX);
    }
}
