//! Protects forms against requests from other sites. The browser must state that the form comes from this site, and the
//! form must carry a token that only our own page contains, for this user and this path.
//! Deliberately absent: what the forms do.

use axum::http::{HeaderMap, Method};

use crate::{access::Visitor, browser};
use devstack_api::{ApiError, error::code};
use devstack_config::problem::Problem;

/// Makes and checks tokens, which are valid until the node restarts.
pub(super) struct Forms {
    secret: [u8; 32],
}

impl Forms {
    /// The length of a key, in characters.
    pub(super) const KEY_LENGTH: usize = 32;

    pub(super) fn new() -> Self {
        let mut secret = [0; 32];
        // Without randomness a node cannot start: its identity and its tokens need it.
        getrandom::fill(&mut secret).unwrap_or_else(|error| unreachable!("the system has no randomness: {error}"));
        Self { secret }
    }

    /// The token of a form of this user for this path.
    pub(super) fn token(&self, visitor: &Visitor, path: &str) -> String {
        // Names contain no newline. A user without a name is a user of the socket.
        let of = format!("{}\n{path}", visitor.name.as_deref().unwrap_or_default());
        blake3::keyed_hash(&self.secret, of.as_bytes()).to_hex().to_string()
    }

    /// A key that makes submitting the same form twice harmless.
    pub(super) fn fresh_key() -> String {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).unwrap_or_else(|error| unreachable!("the system has no randomness: {error}"));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Checks that the user sent this form from our own page.
    ///
    /// # Errors
    /// 403: another site sent the form, or the form belongs to an earlier process of this node or to another user.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        visitor: &Visitor,
        path: &str,
        token: &str,
    ) -> Result<(), ApiError> {
        browser::prove(&Method::POST, path, headers, &browser::own_origin(headers))?;
        // Comparing hashes takes the same time wherever the tokens differ.
        if blake3::hash(token.as_bytes()) != blake3::hash(self.token(visitor, path).as_bytes()) {
            let problem = Problem::new(code::FORBIDDEN, "this form has expired: the node was restarted");
            return Err(ApiError::new(403, problem.hint("go back, reload the page and send the form again")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devstack_members::Role;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_is_for_one_person_and_one_place() {
        let forms = Forms::new();
        let ann = Visitor { name: Some("ann".into()), role: Role::Operator, signed_in: true };
        let bob = Visitor { name: Some("bob".into()), ..ann.clone() };
        let sent = headers(&[("sec-fetch-site", "same-origin")]);
        let token = forms.token(&ann, "/a");
        assert!(forms.check(&sent, &ann, "/a", &token).is_ok());
        assert!(forms.check(&sent, &bob, "/a", &token).is_err());
        assert!(forms.check(&sent, &ann, "/b", &token).is_err());
        assert!(forms.check(&sent, &ann, "/a", "").is_err());
        assert!(forms.check(&headers(&[]), &ann, "/a", &token).is_err());
        assert!(Forms::new().check(&sent, &ann, "/a", &token).is_err());
        assert_ne!(Forms::fresh_key(), Forms::fresh_key());
    }
}
