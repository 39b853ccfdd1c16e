//! Finds secret values in output, in plain form and as programs commonly write them ([`Spellings`]).
//!
//! Deliberately absent: guessing. Only the attempt's own secret values are found; the scan for unknown secrets runs on
//! commits, elsewhere.

use crate::spellings::Spellings;

/// Shorter values are not redacted: they would hide ordinary text and protect nothing.
const SHORTEST: usize = 4;
/// The replacement.
const MASK: &[u8] = b"***";

/// The texts to find.
pub struct Redactor {
    /// By first byte, longest first, so that the longest match at a position wins.
    by_first: Vec<Vec<Vec<u8>>>,
    longest: usize,
}

impl Redactor {
    /// Makes a redactor for these values.
    pub fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut patterns: Vec<Vec<u8>> = values.flat_map(forms).collect();
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        let longest = patterns.first().map_or(0, Vec::len);
        let mut by_first = Vec::new();
        if longest > 0 {
            by_first.resize(256, Vec::new());
        }
        for pattern in patterns {
            if let Some(list) = pattern.first().and_then(|&byte| by_first.get_mut(byte as usize)) {
                list.push(pattern);
            }
        }
        Self { by_first, longest }
    }

    /// Length of the longest text to find; 0 if there is none.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// How many bytes of `text` can be redacted now: the rest may be the start of a secret.
    pub fn settled(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.longest.saturating_sub(1));
        // A match that starts before `from` is complete, and one that reaches past it must not be cut.
        let from = from.max(self.matches(text).take_while(|(at, _)| *at < from).last().map_or(0, |(at, len)| at + len));
        let open = |at: &usize| {
            let rest = text.get(*at..).unwrap_or_default();
            self.patterns_at(rest).any(|pattern| pattern.len() > rest.len() && pattern.starts_with(rest))
        };
        (from..text.len()).find(open).unwrap_or(text.len())
    }

    /// `text` from position `from`, with secrets masked, including those that begin before `from`.
    pub fn redact(&self, text: &[u8], from: usize) -> Vec<u8> {
        let mut clean = Vec::with_capacity(text.len().saturating_sub(from));
        let mut copied = from;
        for (at, length) in self.matches(text) {
            if at + length <= from {
                continue;
            }
            clean.extend_from_slice(text.get(copied..at).unwrap_or_default());
            clean.extend_from_slice(MASK);
            copied = at + length;
        }
        clean.extend_from_slice(text.get(copied..).unwrap_or_default());
        clean
    }

    fn patterns_at(&self, text: &[u8]) -> impl Iterator<Item = &Vec<u8>> {
        let first = text.first().and_then(|&byte| self.by_first.get(byte as usize));
        first.into_iter().flatten()
    }

    /// Start and length of every match, from left to right, none overlapping.
    fn matches<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            while self.longest > 0 && at < text.len() {
                let rest = text.get(at..)?;
                if let Some(pattern) = self.patterns_at(rest).find(|pattern| rest.starts_with(pattern)) {
                    let found = (at, pattern.len());
                    at += pattern.len();
                    return Some(found);
                }
                at += 1;
            }
            None
        })
    }
}

/// The value and the ways it is commonly written.
fn forms(value: &str) -> Vec<Vec<u8>> {
    if value.len() < SHORTEST {
        return Vec::new();
    }
    let Spellings { texts, codes } = Spellings::of(value);
    texts.into_iter().chain(codes).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn clean(values: &[&str], text: &str) -> String {
        String::from_utf8(Redactor::new(values.iter().copied()).redact(text.as_bytes(), 0)).unwrap()
    }

    #[test]
    fn a_value_and_its_common_encodings_are_found() {
        let secret = "s3cr3t/&\"key";
        assert_eq!(clean(&[secret], "a s3cr3t/&\"key b"), "a *** b");
        assert_eq!(clean(&[secret], "a s3cr3t%2F%26%22key b"), "a *** b");
        assert_eq!(clean(&[secret], "{\"k\":\"s3cr3t/&\\\"key\"}"), "{\"k\":\"***\"}");
        // printf 's3cr3t/&"key' | base64; then with `x:` and `xy:u` before it.
        assert_eq!(clean(&[secret], "czNjcjN0LyYia2V5"), "***");
        assert!(!clean(&[secret], "eDpzM2NyM3QvJiJrZXk=").contains("M2NyM3Qv"));
        assert!(!clean(&[secret], "eHk6dXMzY3IzdC8mImtleQ==").contains("MzY3IzdC8m"));
    }

    #[test]
    fn short_values_are_left_alone_and_the_longest_match_wins() {
        assert_eq!(clean(&["abc"], "abc"), "abc");
        assert_eq!(clean(&["token", "token-long"], "token-long token"), "*** ***");
    }

    #[test]
    fn lines_of_a_key_are_found_alone() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END KEY-----\n";
        assert_eq!(clean(&[key], "x MIIEvQIBADANBgkqhkiG y"), "x *** y");
    }
}
