//! Strict parsing of repository URLs, and patterns of such addresses. Text that two programs could read differently is
//! refused: a backslash, an escaped dot or slash, a query, or a number as a host.
//! Deliberately absent: name resolution, and who may use which address (`repository::reach`).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The longest address or pattern, in bytes.
const ADDRESS_MAX: usize = 2_000;

/// The protocol of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP over TLS.
    Https,
    /// HTTP.
    Http,
    /// ssh; also written `user@host:path`.
    Ssh,
    /// Git's own daemon: neither side authenticates.
    Git,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Https, Self::Http, Self::Ssh, Self::Git];

    /// The text before `://`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Git => "git",
        }
    }

    /// The default port.
    pub fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Ssh => 22,
            Self::Git => 9418,
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.word() == word)
    }
}

/// An address of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The protocol.
    pub scheme: Scheme,
    /// A name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port; the scheme's default if the address names none.
    pub port: u16,
    /// The path, with its leading slash.
    pub path: String,
}

/// Why a text is not an address or a pattern: a phrase for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(&'static str);

impl Address {
    /// Parses an address. The user is not part of the result.
    ///
    /// # Errors
    /// The text is not an address, or two programs could understand it differently.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let (scheme, authority, path) = split(text)?;
        let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        if user.is_some_and(|user| !is_user(user)) {
            return Err(BadAddress("the part before `@` is not a user name"));
        }
        let (host, port) = host_and_port(place, scheme, |port| port.parse().ok().filter(|port| *port > 0))?;
        check_host(&host)?;
        check_path(&path)?;
        Ok(Self { scheme, host, port, path })
    }

    /// The host, if it is an IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Address {
    /// Prints no user and no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match *port == scheme.port() {
            true => write!(f, "{}://{host}{path}", scheme.word()),
            false => write!(f, "{}://{host}:{port}{path}", scheme.word()),
        }
    }
}

/// A pattern for addresses of one scheme: `https://github.com/acme/*`. A `*` matches any text; in the host it may span
/// several labels. The port is the scheme's default, unless the pattern names a port or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    written: String,
    scheme: Scheme,
    host: String,
    /// `None`: any port.
    port: Option<u16>,
    path: String,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The text is not a pattern.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        if !text.contains("://") {
            return Err(BadAddress("a pattern must begin with https://, ssh://, http:// or git://"));
        }
        let (scheme, authority, path) = split(text)?;
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.strip_suffix(":*") {
            Some(host) => (host_and_port(host, scheme, |_| None)?.0, None),
            None => {
                let (host, port) = host_and_port(place, scheme, |port| port.parse().ok())?;
                (host, Some(port))
            }
        };
        let plain = host.replace('*', "x");
        if plain.parse::<IpAddr>().is_err() && !plain.bytes().all(is_host_byte) {
            return Err(BadAddress("its host is neither a name nor an IP address"));
        }
        if path == "/" {
            return Err(BadAddress("it names no repository; write for example https://github.com/acme/*"));
        }
        Ok(Self { written: text.to_owned(), scheme, host, port, path })
    }

    /// Whether an address matches.
    pub fn matches(&self, address: &Address) -> bool {
        self.scheme == address.scheme
            && self.port.is_none_or(|port| port == address.port)
            && glob(self.host.as_bytes(), address.host.as_bytes())
            && glob(self.path.as_bytes(), address.path.as_bytes())
    }

    /// The protocol of matching repositories.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

/// Splits an address into the scheme, the authority, and the path.
fn split(text: &str) -> Result<(Scheme, &str, String), BadAddress> {
    if text.len() > ADDRESS_MAX {
        return Err(BadAddress("it is longer than 2,000 bytes"));
    }
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || matches!(byte, b'\\' | b'?' | b'#')) {
        return Err(BadAddress("it has a space, a backslash, a query or a fragment"));
    }
    if let Some((word, rest)) = text.split_once("://") {
        let scheme = Scheme::of(word).ok_or(BadAddress("it must begin with https://, ssh://, http:// or git://"))?;
        let at = rest.find('/').ok_or(BadAddress("it has no path"))?;
        return Ok((scheme, &rest[..at], rest[at..].to_owned()));
    }
    // `user@host:path`, where the host may be in brackets.
    let end = match text.find('[') {
        Some(open) => text[open..].find(']').map_or(open, |close| open + close),
        None => 0,
    };
    let colon = text[end..].find(':').ok_or(BadAddress("it has neither a scheme nor a host"))? + end;
    let path = &text[colon + 1..];
    if path.starts_with(':') {
        return Err(BadAddress("it names a helper program of git instead of a host"));
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((Scheme::Ssh, &text[..colon], path))
}

fn host_and_port(place: &str, scheme: Scheme, read: impl Fn(&str) -> Option<u16>) -> Result<(String, u16), BadAddress> {
    let bad_port = BadAddress("its port is not a number from 1 to 65535");
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(BadAddress("a bracket is not closed"))?;
            host.parse::<Ipv6Addr>().map_err(|_| BadAddress("the text in brackets is not an IPv6 address"))?;
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => return Err(bad_port),
            }
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => read(port).ok_or(bad_port)?,
        Some(_) => return Err(bad_port),
        None => scheme.port(),
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// Checks a host: a name, or an IP address in its usual form. Some programs read `127.1` and `0x7f.1` as IP addresses.
fn check_host(host: &str) -> Result<(), BadAddress> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if host.is_empty() || host.len() > 253 || host.starts_with(['-', '.']) || host.ends_with('.') {
        return Err(BadAddress("it has no valid host"));
    }
    if !host.bytes().all(is_host_byte) || host.contains("..") {
        return Err(BadAddress("its host has characters that are not allowed in names"));
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(BadAddress("its host is a number, but not an IP address in its usual form"));
    }
    Ok(())
}

fn is_user(user: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(&byte);
    !user.is_empty() && !user.starts_with('-') && user.bytes().all(byte)
}

/// Checks a path: no part may lead upwards, whether plain or escaped. Otherwise a pattern could match another path than
/// the one that is fetched.
fn check_path(path: &str) -> Result<(), BadAddress> {
    let escaped = path.to_ascii_lowercase().replace("%2e", ".");
    if escaped.contains("%2f") || escaped.contains("%5c") || escaped.contains("%00") {
        return Err(BadAddress("its path has an escaped slash, backslash or NUL"));
    }
    if escaped.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(BadAddress("its path has `.` or `..` in it"));
    }
    match path.len() {
        0 | 1 => Err(BadAddress("it names no repository")),
        _ => Ok(()),
    }
}

/// Whether the text matches; each `*` matches any text. Linear, except for the last `*`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == text[seen] => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((back, taken)) => {
                    star = Some((back, taken + 1));
                    (at, seen) = (back + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether the address is public on the internet. It is not public if it belongs to this machine or to a private
/// network, or is an alias of such an address.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let special = a == 0 || a >= 240 || (a == 192 && b == 0 && c == 0) || (a == 198 && (b == 18 || b == 19));
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || shared
        || special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let inner = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // Mapped and compatible IPv4, `::` and `::1` among them.
        [0, 0, 0, 0, 0, 0xffff, high, low] => is_public_v4(inner(high, low)),
        [0, 0, 0, 0, 0, 0, ..] => false,
        // NAT64 and 6to4 lead to the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(inner(high, low)),
        [0x2002, high, low, ..] => is_public_v4(inner(high, low)),
        // Teredo, documentation.
        [0x2001, 0 | 0xdb8, ..] => false,
        // The range for global addresses: without private, link-local and multicast addresses.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parsed = |text: &str| {
            let Address { scheme, host, port, path } = Address::parse(text).unwrap();
            (scheme.word(), host, port, path)
        };
        let of = |scheme, host: &str, port, path: &str| (scheme, host.to_owned(), port, path.to_owned());
        assert_eq!(parsed("https://GitHub.com/acme/x.git"), of("https", "github.com", 443, "/acme/x.git"));
        assert_eq!(parsed("https://me:p%40ss@h.example:8443/x"), of("https", "h.example", 8443, "/x"));
        assert_eq!(parsed("git@github.com:acme/x.git"), of("ssh", "github.com", 22, "/acme/x.git"));
        assert_eq!(parsed("ssh://git@[2001:db8::1]:2222/x"), of("ssh", "2001:db8::1", 2222, "/x"));
        assert_eq!(parsed("git@[::1]:x"), of("ssh", "::1", 22, "/x"));
        assert_eq!(parsed("git://127.0.0.1:9/x"), of("git", "127.0.0.1", 9, "/x"));
    }

    #[test]
    fn what_two_programs_read_differently_is_no_address() {
        for text in [
            "https://a.example\\@127.0.0.1/x",
            "https://127.1/x",
            "https://0x7f.0.0.1/x",
            "https://2130706433/x",
            "https://localhost./x",
            "https://a.example#@127.0.0.1/x",
            "https://a.example/x?y",
            "https://a.example/acme/../evil",
            "https://a.example/acme/%2e%2E/evil",
            "https://a.example/acme%2f..%2fevil",
            "https://a.example:99999/x",
            "https://a.example:/x",
            "https://a.example",
            "https:///x",
            "https://-a/x",
            "https://a b/x",
            "https://a.example/x\n",
            "https://[::1/x",
            "https://[fe80::1%25eth0]/x",
            "ext::sh",
            "file:///x",
            "/x",
            "",
        ] {
            assert!(Address::parse(text).is_err(), "{text:?}: {:?}", Address::parse(text));
        }
    }

    #[test]
    fn patterns_mean_what_they_say() {
        let matches =
            |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().matches(&Address::parse(text).unwrap());
        assert!(matches("https://github.com/acme/*", "https://github.com/acme/x.git"));
        assert!(matches("https://github.com/acme/*", "https://token@github.com/acme/x.git"));
        assert!(matches("https://*.corp.example/*", "https://git.corp.example/a/b"));
        assert!(matches("ssh://git@github.com/acme/*", "git@github.com:acme/x"));
        assert!(matches("git://127.0.0.1:*/*", "git://127.0.0.1:4711/x"));
        for (pattern, text) in [
            ("https://github.com/acme/*", "https://github.com/acmeevil/x"),
            ("https://github.com/acme/*", "http://github.com/acme/x"),
            ("https://github.com/acme/*", "https://github.com:8443/acme/x"),
            ("https://github.com/acme/*", "https://github.com.evil.example/acme/x"),
            ("https://*.corp.example/*", "https://corp.example.evil.example/x"),
            ("https://*.corp.example/x", "https://evil.example/y.corp.example/x"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        for pattern in ["*", "github.com/acme/*", "https://github.com", "https://github.com/", "ftp://x/*"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn private_addresses_are_known_in_every_dress() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.192",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001::1",
            "fec0::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["140.82.121.3", "9.9.9.9", "2606:50c0:8000::153", "::ffff:140.82.121.3", "64:ff9b::8c52:7903"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
