//! A line of the log.

use serde::{Deserialize, Serialize};

/// The longest path that is kept, in characters.
const TARGET_MAX: usize = 512;

/// Who asked for what, when, and how it ended. Fields are only ever added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1, over all files. The writer gives it.
    #[serde(default)]
    pub number: u64,
    /// When it ended, RFC 3339.
    pub at: String,
    /// The name of a token or of a node; `null`: whoever it was had none, or the socket was used.
    pub who: Option<String>,
    /// How they came: `token`, `session` (a browser), `certificate`, `socket`, `process` or `stranger`.
    pub via: String,
    /// What they may.
    pub role: Option<String>,
    /// The user at the other end of the socket.
    pub uid: Option<u32>,
    /// The address at the other end of TCP.
    pub address: Option<String>,
    /// `POST`.
    pub method: String,
    /// The entry of the table of routes; `null`: there is none.
    pub route: Option<String>,
    /// The path, see [`target`].
    pub target: String,
    /// The status of the answer.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The answer's `x-request-id`.
    pub request: String,
    /// Refusals of strangers that were left out before this line: there were too many.
    #[serde(default)]
    pub left_out: u64,
}

/// A path as it is kept: bounded, and without what may be a secret. A token in a path is a mistake, but one that is made.
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
