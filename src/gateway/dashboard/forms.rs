//! What proves that a person sent a form on purpose: the browser says that it comes from this very site, and the form
//! carries a token that only our own page could give, for this person and this place.
//! Deliberately absent: what the forms do.

use axum::http::{HeaderMap, Method};

use crate::{
    config::problem::Problem,
    gateway::{ApiError, access::Visitor, browser, error::code},
};

/// Makes and knows tokens; they are good until the node is restarted.
pub(super) struct Forms {
    secret: [u8; 32],
}

impl Forms {
    /// Of a key, in characters.
    pub(super) const KEY_LENGTH: usize = 32;

    pub(super) fn new() -> Self {
        let mut secret = [0; 32];
        // Without randomness a node cannot start at all: its identity and its tokens need it.
        getrandom::fill(&mut secret).unwrap_or_else(|error| unreachable!("the system has no randomness: {error}"));
        Self { secret }
    }

    /// The token of a form of this person that is sent to this path.
    pub(super) fn token(&self, visitor: &Visitor, path: &str) -> String {
        // A name has no newline, and who has no name is on this machine.
        let of = format!("{}\n{path}", visitor.name.as_deref().unwrap_or_default());
        blake3::keyed_hash(&self.secret, of.as_bytes()).to_hex().to_string()
    }

    /// A key that makes sending the same form twice harmless.
    pub(super) fn fresh_key() -> String {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).unwrap_or_else(|error| unreachable!("the system has no randomness: {error}"));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Was this form sent on purpose?
    ///
    /// # Errors
    /// 403: another site sent it, or it is of an earlier life of this node, or of another person.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        visitor: &Visitor,
        path: &str,
        token: &str,
    ) -> Result<(), ApiError> {
        browser::prove(&Method::POST, path, headers, &browser::own_origin(headers))?;
        // Compared as hashes, which takes the same time wherever they differ.
        if blake3::hash(token.as_bytes()) != blake3::hash(self.token(visitor, path).as_bytes()) {
            let problem = Problem::new(code::FORBIDDEN, "this form is too old: the node was restarted since");
            return Err(ApiError::new(403, problem.hint("go back, load the page again, and send it once more")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Role;

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
