//! The rules for cookies. A browser sends its cookie with every request, whichever site caused the request. Therefore a
//! cookie is valid for reading; for a change it is valid only with a form of our own pages, which the browser itself
//! attests. The same rule applies to sessions of the API on TCP and to the proxy of `devstack dashboard open`.
//! Deliberately absent: tokens in forms (a page cannot forget what the browser attests; decision 0018), and permissions
//! (the table of routes).

mod sessions;

use axum::http::{
    HeaderMap, Method,
    header::{COOKIE, HOST, ORIGIN},
};

use super::{ApiError, error::code};
use devstack_config::problem::Problem;

pub use sessions::{Life, Sessions};

/// The session cookie on TCP. Browsers accept a name with this prefix only over TLS, for exactly this host and all
/// paths.
pub const SESSION_COOKIE: &str = "__Host-devstack";

/// The paths of the API for programs, where changes require a token.
const PROGRAMS: &str = "/v1/";

/// Browsers state the origin of a request here; pages cannot set this header.
const FETCH_SITE: &str = "sec-fetch-site";

/// Why a cookie is not sufficient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The browser reports that another site caused the request.
    #[error("another site sent this request")]
    OtherSite,
    /// No header proves that one of our pages sent the request.
    #[error("the request does not prove that a page of this dashboard sent it")]
    NoProof,
    /// The request changes something through the API for programs.
    #[error("a cookie cannot authorise changes below {PROGRAMS}")]
    ForPrograms,
}

/// Checks whether a request with only a cookie is allowed. `origin` is ours, as browsers write it: `https://HOST:PORT`.
///
/// # Errors
/// Why the request is refused.
pub fn prove(method: &Method, path: &str, headers: &HeaderMap, origin: &str) -> Result<(), Unproven> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    // `null` proves nothing: a page that asks for no referrer makes browsers send `null`, even to its own site.
    let named = text(ORIGIN.as_str()).filter(|origin| *origin != "null");
    if named.is_some_and(|named| named != origin) {
        return Err(Unproven::OtherSite);
    }
    let changes = !method.is_safe();
    match text(FETCH_SITE) {
        Some("same-origin") => {}
        // A typed address, or a link from another site: the page is shown, and nothing changes.
        Some("none") if !changes => {}
        Some("cross-site" | "same-site") if !changes && text("sec-fetch-mode") == Some("navigate") => {}
        Some(_) => return Err(Unproven::OtherSite),
        None if changes && named.is_none() => return Err(Unproven::NoProof),
        None => {}
    }
    if changes && path.starts_with(PROGRAMS) {
        return Err(Unproven::ForPrograms);
    }
    Ok(())
}

/// Our origin, as the client's browser knows it. The client chooses the name; that is safe, because a cookie belongs to
/// one host and is not sent under another name.
pub(super) fn own_origin(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("https://{host}")
}

/// The value of a cookie.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(known, value)| (known == name).then_some(value))
}

/// 256 random bits in hexadecimal: the secret of a session.
///
/// # Errors
/// The machine provides no random numbers.
pub fn secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(devstack_cluster::hex::encode(&bytes))
}

impl From<Unproven> for ApiError {
    fn from(unproven: Unproven) -> Self {
        let hint = match unproven {
            Unproven::ForPrograms => "send `Authorization: Bearer TOKEN`",
            Unproven::OtherSite | Unproven::NoProof => "open the dashboard and use the forms on its pages",
        };
        Self::new(403, Problem::new(code::FORBIDDEN, unproven.to_string()).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://boss:7421";

    fn asked(method: &Method, path: &str, headers: &[(&'static str, &str)]) -> Result<(), Unproven> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        prove(method, path, &headers, OURS)
    }

    #[test]
    fn reading_needs_no_proof_unless_the_browser_speaks_against_it() {
        for method in [Method::GET, Method::HEAD] {
            let read = |headers: &[(&'static str, &str)]| asked(&method, "/v1/tasks", headers);
            assert_eq!(read(&[]), Ok(()));
            assert_eq!(read(&[("sec-fetch-site", "none")]), Ok(()));
            assert_eq!(read(&[("origin", OURS), ("sec-fetch-site", "same-origin")]), Ok(()));
            // A link from a chat leads to a page; a picture or a script of another site gets nothing.
            assert_eq!(read(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]), Ok(()));
            for site in ["cross-site", "same-site", "nonsense"] {
                assert_eq!(read(&[("sec-fetch-site", site)]), Err(Unproven::OtherSite), "{site}");
            }
            assert_eq!(read(&[("origin", "https://evil")]), Err(Unproven::OtherSite));
        }
    }

    #[test]
    fn a_change_takes_the_browsers_word_that_a_page_of_ours_asks() {
        let change = |headers: &[(&'static str, &str)]| asked(&Method::POST, "/tasks/shop/a/retry", headers);
        assert_eq!(change(&[("origin", OURS), ("sec-fetch-site", "same-origin")]), Ok(()));
        // Browsers without one of the two headers, and pages that hide their origin.
        assert_eq!(change(&[("origin", OURS)]), Ok(()));
        assert_eq!(change(&[("origin", "null"), ("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(change(&[]), Err(Unproven::NoProof));
        assert_eq!(change(&[("origin", "null")]), Err(Unproven::NoProof));
        for origin in
            ["https://evil", "http://boss:7421", "https://boss:7422", "https://boss", "https://boss:7421.evil"]
        {
            assert_eq!(change(&[("origin", origin)]), Err(Unproven::OtherSite), "{origin}");
            assert_eq!(change(&[("origin", origin), ("sec-fetch-site", "same-origin")]), Err(Unproven::OtherSite));
        }
        // Another port of this host is another origin; a form of another site is also a navigation.
        for site in ["same-site", "cross-site", "none", ""] {
            for mode in ["navigate", "cors"] {
                let said = [("sec-fetch-site", site), ("sec-fetch-mode", mode)];
                assert_eq!(change(&said), Err(Unproven::OtherSite), "{site} {mode}");
            }
        }
    }

    #[test]
    fn the_api_of_programs_is_not_changed_by_cookies_whatever_the_browser_says() {
        let proof = [("origin", OURS), ("sec-fetch-site", "same-origin")];
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert_eq!(asked(&method, "/v1/plans", &proof), Err(Unproven::ForPrograms));
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; __Host-devstack=x=y;b".parse().unwrap());
        headers.append(COOKIE, "c=3".parse().unwrap());
        assert_eq!(cookie(&headers, SESSION_COOKIE), Some("x=y"));
        assert_eq!(cookie(&headers, "c"), Some("3"));
        assert_eq!((cookie(&headers, "b"), cookie(&headers, "__Host")), (None, None));
    }

    #[test]
    fn secrets_differ_and_are_long() {
        let (a, b) = (secret().unwrap(), secret().unwrap());
        assert!(a != b && a.len() == 64);
    }
}
