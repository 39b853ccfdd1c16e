//! The one-line token with which a machine joins: the address to ask, the CA that must answer, and a secret that works
//! once. Deliberately absent: what the token allows and when it expires (the Taskmaster's registry knows), and the
//! stored form of its secret (`token_hash`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{Fingerprint, hex};

/// The first word of the token: its kind and version.
const PREFIX: &str = "dsj1";
/// The longest address, in bytes: a DNS name of 253, brackets, a colon and a port.
const ADDRESS_MAX: usize = 261;

/// The id of a token: not secret, shown in lists. 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(pub [u8; 8]);

/// The secret half of a token: 128 random bits. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(pub [u8; 16]);

/// A join token, written `dsj1/HOST:PORT/FINGERPRINT/ID/SECRET`: plain characters, one word for a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    address: String,
    /// The cluster's CA.
    pub ca: Fingerprint,
    /// The token's id.
    pub id: TokenId,
    /// The secret, which proves the right to use the token.
    pub secret: TokenSecret,
}

/// The text is not a join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// The first word is not a token prefix.
    #[error("not a join token: join tokens begin with `{PREFIX}/`")]
    Prefix,
    /// The token is from a later version.
    #[error("this join token is from another version of devstack; this version reads `{PREFIX}/`")]
    Version,
    /// A part is missing, truncated or changed.
    #[error("the join token is damaged: {0}; copy the whole line")]
    Damaged(&'static str),
    /// The address is invalid.
    #[error("`{0}` is not an address; write HOST:PORT")]
    Address(String),
}

impl TokenId {
    /// Makes a random id.
    ///
    /// # Errors
    /// The machine provides no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl TokenSecret {
    /// Makes a random secret.
    ///
    /// # Errors
    /// The machine provides no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The secret itself, to hand out.
    pub fn reveal(&self) -> String {
        hex::encode(&self.0)
    }
}

impl JoinToken {
    /// Makes a token for the API at `HOST:PORT`.
    ///
    /// # Errors
    /// The address is invalid.
    pub fn new(address: &str, ca: Fingerprint, id: TokenId, secret: TokenSecret) -> Result<Self, InvalidToken> {
        if split_address(address).is_none() {
            return Err(InvalidToken::Address(address.chars().take(ADDRESS_MAX).collect()));
        }
        Ok(Self { address: address.to_owned(), ca, id, secret })
    }

    /// The address of the API, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The whole token with its secret, to hand out.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}/{}/{}/{}/{}", self.address, self.ca, self.id, self.secret.reveal())
    }
}

/// Host (without brackets) and port of `HOST:PORT`; an IPv6 address stands in brackets.
pub fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok().then_some(host)?,
        None => (!host.is_empty() && host.chars().all(name)).then_some(host)?,
    };
    (address.len() <= ADDRESS_MAX).then_some((host, port))
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl FromStr for TokenId {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::decode(text).map(Self).ok_or(InvalidToken::Damaged("its id has 16 hexadecimal digits"))
    }
}

impl TryFrom<String> for TokenId {
    type Error = InvalidToken;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl Drop for TokenSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

impl FromStr for TokenSecret {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::decode(text).map(Self).ok_or(InvalidToken::Damaged("its secret has 32 hexadecimal digits"))
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.trim().split('/').collect();
        match parts.first() {
            Some(&PREFIX) => {}
            Some(first) if first.starts_with("dsj") => return Err(InvalidToken::Version),
            _ => return Err(InvalidToken::Prefix),
        }
        let &[_, address, ca, id, secret] = parts.as_slice() else {
            return Err(InvalidToken::Damaged("it has five parts with `/` between them"));
        };
        let ca = ca.parse().map_err(|_| InvalidToken::Damaged("its fingerprint has 64 hexadecimal digits"))?;
        Self::new(address, ca, id.parse()?, secret.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens() -> impl Strategy<Value = JoinToken> {
        let host = prop_oneof!["[a-z0-9][a-z0-9_.-]{0,40}", "[0-9]{1,3}\\.0\\.0\\.1", Just("[fe80::1]".to_owned())];
        (host, 1..=u16::MAX, any::<[u8; 32]>(), any::<[u8; 8]>(), any::<[u8; 16]>()).prop_map(
            |(host, port, ca, id, secret)| {
                let (ca, id) = (Fingerprint::from_bytes(ca), TokenId(id));
                JoinToken::new(&format!("{host}:{port}"), ca, id, TokenSecret(secret)).unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(token in tokens()) {
            let line = token.reveal();
            prop_assert_eq!(line.parse::<JoinToken>().unwrap(), token.clone());
            prop_assert_eq!(format!(" {line}\n").parse::<JoinToken>().unwrap(), token.clone());
            let shown = format!("{:?}", token);
            prop_assert!(!shown.contains(&token.secret.reveal()));
        }

        #[test]
        fn a_token_cut_off_is_refused(token in tokens(), cut in 0.0..1.0f64) {
            let line = token.reveal();
            let kept = (line.len() as f64 * cut) as usize;
            prop_assert!(line[..kept].parse::<JoinToken>().is_err());
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,200}", tail in "[a-f0-9/:.]{0,160}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("dsj1/{tail}").parse::<JoinToken>();
        }

        #[test]
        fn only_the_secret_itself_has_its_hash(secret in any::<[u8; 16]>(), bit in 0..128usize) {
            let hash = TokenSecret(secret).hash();
            prop_assert!(TokenSecret(secret).has_hash(&hash));
            let mut other = secret;
            other[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!TokenSecret(other).has_hash(&hash));
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let refused = |text: &str| text.parse::<JoinToken>().unwrap_err();
        assert_eq!(refused("hello"), InvalidToken::Prefix);
        assert_eq!(refused("dsj2/x"), InvalidToken::Version);
        assert_eq!(refused("dsj1/host:1/ab"), InvalidToken::Damaged("it has five parts with `/` between them"));
        let whole = format!("dsj1/host/{}/{}/{}", "0".repeat(64), "0".repeat(16), "0".repeat(32));
        assert_eq!(refused(&whole), InvalidToken::Address("host".to_owned()));
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(split_address("node-1.example:7421"), Some(("node-1.example", 7421)));
        assert_eq!(split_address("[::1]:1"), Some(("::1", 1)));
        for bad in ["", "host", "host:", ":1", "host:0", "host:99999", "::1:1", "[x]:1", "a b:1", "h/x:1"] {
            assert_eq!(split_address(bad), None, "{bad}");
        }
    }
}
