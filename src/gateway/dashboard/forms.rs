//! What proves that a person sent a form on purpose: the browser says that it comes from this very site, and the form
//! carries a token that only our own page could give, for this person and this place.
//! Deliberately absent: what the forms do.

use axum::http::{
    HeaderMap,
    header::{HOST, ORIGIN},
};

use crate::{
    config::problem::Problem,
    gateway::{ApiError, access::Visitor, error::code},
};

/// Makes and knows tokens; they are good until the node is restarted.
pub(super) struct Forms {
    secret: [u8; 32],
}

impl Forms {
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
        if !same_site(headers) {
            let problem = Problem::new(code::FORBIDDEN, "this form was not sent from the dashboard itself");
            return Err(ApiError::new(403, problem.hint("open the dashboard, and use its buttons")));
        }
        // Compared as hashes, which takes the same time wherever they differ.
        if blake3::hash(token.as_bytes()) != blake3::hash(self.token(visitor, path).as_bytes()) {
            let problem = Problem::new(code::FORBIDDEN, "this form is too old: the node was restarted since");
            return Err(ApiError::new(403, problem.hint("go back, load the page again, and send it once more")));
        }
        Ok(())
    }
}

/// What browsers say of where a request comes from. One that says nothing at all is none that we serve.
fn same_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => match (text(ORIGIN.as_str()), text(HOST.as_str())) {
            (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, of)| of == host),
            _ => false,
        },
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
    fn only_the_same_site_counts() {
        assert!(same_site(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(same_site(&headers(&[("origin", "https://a:1"), ("host", "a:1")])));
        for other in [
            &[("sec-fetch-site", "same-site"), ("origin", "https://a"), ("host", "a")][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://b"), ("host", "a")],
            &[("origin", "null"), ("host", "a")],
            &[("host", "a")],
            &[],
        ] {
            assert!(!same_site(&headers(other)), "{other:?}");
        }
    }

    #[test]
    fn a_token_is_for_one_person_and_one_place() {
        let forms = Forms::new();
        let ann = Visitor { name: Some("ann".into()), role: Role::Operator };
        let bob = Visitor { name: Some("bob".into()), ..ann.clone() };
        let sent = headers(&[("sec-fetch-site", "same-origin")]);
        let token = forms.token(&ann, "/a");
        assert!(forms.check(&sent, &ann, "/a", &token).is_ok());
        assert!(forms.check(&sent, &bob, "/a", &token).is_err());
        assert!(forms.check(&sent, &ann, "/b", &token).is_err());
        assert!(forms.check(&sent, &ann, "/a", "").is_err());
        assert!(Forms::new().check(&sent, &ann, "/a", &token).is_err());
        assert_ne!(Forms::fresh_key(), Forms::fresh_key());
    }
}
