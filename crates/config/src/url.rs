//! Addresses of external receivers in the configuration: http and https, without a user.
//! Deliberately absent: connecting to them (`devstack_api::outgoing`), and addresses of repositories
//! ([`crate::remote`]).

use http::Uri;

/// The certificate authorities that Debian and Ubuntu trust.
pub const SYSTEM_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The parts of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether the scheme is https.
    pub tls: bool,
    /// The host, without the brackets of an IPv6 address.
    pub host: String,
    /// The port, or the default port if the address names none.
    pub port: u16,
    /// The path and query, as they are sent.
    pub target: String,
}

/// Checks an address. The error describes the mistake, for people.
///
/// # Errors
/// It is not an address of http or https, or it contains a user.
pub fn check_url(url: &str) -> Result<(), String> {
    Address::parse(url).map(drop)
}

impl Address {
    /// Parses an address. The error describes the mistake, for people.
    ///
    /// # Errors
    /// The same as those of [`check_url`].
    pub fn parse(url: &str) -> Result<Self, String> {
        let example = "write for example \"https://hooks.example/devstack\"";
        let uri: Uri = url.parse().map_err(|_| format!("it is not a URL; {example}"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("only http and https are supported; {example}")),
        };
        let authority = uri.authority().ok_or_else(|| format!("it names no host; {example}"))?;
        if authority.as_str().contains('@') {
            return Err("a user and a password in a URL end up in logs; leave them out".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let target = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Ok(Self { tls, host, port, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let expected = Address { tls: true, host: "::1".to_owned(), port: 9, target: "/x".to_owned() };
        assert_eq!(Address::parse("https://[::1]:9/x"), Ok(expected));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_fix() {
        for (url, says) in [
            ("hooks.example", "only http and https"),
            ("ftp://x/", "only http and https"),
            ("https://me:secret@x/", "end up in logs"),
            ("http://a b/", "not a URL"),
        ] {
            let why = check_url(url).unwrap_err();
            assert!(why.contains(says) && !why.contains("secret@"), "{url}: {why}");
        }
    }
}
