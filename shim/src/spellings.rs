//! The ways in which programs commonly write a secret value: unchanged, as a single line of a multi-line value,
//! JSON-escaped, percent-encoded, in base64 (both alphabets, at any offset inside a longer text) and in hexadecimal.
//!
//! Used by the redactor of logs and by the scanner of commits, so that both find the same. Deliberately absent:
//! searching, and spellings that are used only to hide a value.

/// In a value with several lines, lines of at least this length are secrets by themselves: the first lines of a key are
/// public boilerplate, the others are not.
const SHORTEST_LINE: usize = 16;
/// Encoded forms shorter than this would match by accident.
const SHORTEST_CODE: usize = 6;

/// The spellings of one value.
#[derive(Debug, Default)]
pub struct Spellings {
    /// Texts that are matched literally: the value, its lines, JSON-escaped, percent-encoded.
    pub texts: Vec<Vec<u8>>,
    /// Codes that programs break into lines of any length: base64 and hexadecimal.
    pub codes: Vec<Vec<u8>>,
}

impl Spellings {
    /// All spellings of `value`, which is not trimmed. Empty for an empty value.
    pub fn of(value: &str) -> Self {
        if value.is_empty() {
            return Self::default();
        }
        let bytes = value.as_bytes();
        let mut texts = vec![bytes.to_vec()];
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && line.len() < value.len());
        texts.extend(lines.filter(|line| !is_armor(line)).map(|line| line.as_bytes().to_vec()));
        if let Ok(json) = serde_json::to_string(value) {
            // Without the surrounding quotes, but with all of the value.
            texts.push(json.as_bytes().get(1..json.len().saturating_sub(1)).unwrap_or_default().to_vec());
        }
        texts.extend([true, false].map(|upper| percent(bytes, upper)));
        let mut codes: Vec<Vec<u8>> = Vec::new();
        for alphabet in [STANDARD, URL_SAFE] {
            codes.extend((0..3).map(|shift| base64(bytes, shift, alphabet)));
        }
        codes.extend([true, false].map(|upper| hexadecimal(bytes, upper)));
        codes.retain(|code| code.len() >= SHORTEST_CODE);
        Self { texts, codes }
    }
}

/// `-----BEGIN … KEY-----`: the same in all keys.
fn is_armor(line: &str) -> bool {
    line.starts_with("-----") && line.ends_with("-----")
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters that depend only on `value` when it begins `shift` bytes into a group of three.
fn base64(value: &[u8], shift: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |n: usize| value.get(n / 8).map_or(0, |byte| byte >> (7 - n % 8) & 1) as usize;
    // The value's bits start at bit `shift * 8` of the stream; only complete 6-bit characters count.
    let skip = (6 - shift * 8 % 6) % 6;
    let whole = (value.len() * 8).saturating_sub(skip) / 6;
    let code = |n: usize| (0..6).fold(0, |code, k| code << 1 | bit(skip + n * 6 + k));
    (0..whole).filter_map(|n| alphabet.get(code(n)).copied()).collect()
}

fn hexadecimal(value: &[u8], upper: bool) -> Vec<u8> {
    let digits: &[u8; 16] = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let digit = |half: u8| digits.get(usize::from(half)).copied();
    value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

fn percent(value: &[u8], upper: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for &byte in value {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(byte);
        } else {
            let code = if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
            text.extend_from_slice(code.as_bytes());
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn has(list: &[Vec<u8>], text: &str) -> bool {
        list.iter().any(|known| known == text.as_bytes())
    }

    #[test]
    fn a_value_is_spelled_in_every_common_way() {
        let said = Spellings::of("s3cr3t/&\"key");
        for text in ["s3cr3t/&\"key", "s3cr3t/&\\\"key", "s3cr3t%2F%26%22key", "s3cr3t%2f%26%22key"] {
            assert!(has(&said.texts, text), "{text}");
        }
        for code in ["czNjcjN0LyYia2V5", "7333637233742f26226b6579", "7333637233742F26226B6579"] {
            assert!(has(&said.codes, code), "{code}");
        }
        assert_eq!(base64(b"foobar", 0, STANDARD), b"Zm9vYmFy");
    }

    #[test]
    fn long_lines_of_a_value_are_spelled_alone_and_armor_is_not() {
        let key = "-----BEGIN TEST KEY-----\nMIIEvQIBADANBgkqhkiG\nshort\n-----END TEST KEY-----";
        let said = Spellings::of(key);
        assert!(has(&said.texts, "MIIEvQIBADANBgkqhkiG") && has(&said.texts, key));
        assert!(!has(&said.texts, "short") && !has(&said.texts, "-----BEGIN TEST KEY-----"));
        assert!(has(&said.texts, &key.replace('\n', "\\n")));
    }

    #[test]
    fn a_quote_at_an_end_stays_in_its_json_form() {
        assert!(has(&Spellings::of("\"quoted\"").texts, "\\\"quoted\\\""));
    }

    #[test]
    fn nothing_is_spelled_of_nothing_and_little_of_little() {
        assert!(Spellings::of("").texts.is_empty());
        assert!(Spellings::of("a").codes.is_empty());
    }
}
