//! Any text is a join token or an error, and an accepted one is written as it was read.
//! Deliberately absent: whether a token is good for anything; the registry knows.
#![no_main]

#[allow(dead_code, reason = "only what reads and writes is used")]
#[path = "../../cluster/src/hex.rs"]
mod hex;
#[allow(dead_code, reason = "only what reads and writes is used")]
#[path = "../../cluster/src/join_token.rs"]
mod join_token;

use std::{fmt, str::FromStr};

/// Stands for the fingerprint of a CA, which needs certificates for the rest of what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        hex::decode(text).map(Self).ok_or(())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    // Most texts are no token, so what they say is tried in each part of one, too.
    let whole = |address: &str, id: &str| format!("dsj1/{address}/{}/{id}/{}", "0a".repeat(32), "0b".repeat(16));
    for text in [text.to_owned(), whole(text, "0123456789abcdef"), whole("host:7421", text)] {
        if let Ok(token) = text.parse::<join_token::JoinToken>() {
            assert!(token.reveal().eq_ignore_ascii_case(text.trim()));
            assert_eq!(token.reveal().parse(), Ok(token.clone()));
            assert!(!format!("{token:?}").contains(&token.secret.reveal()), "a secret is not shown");
        }
    }
});
