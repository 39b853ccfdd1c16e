//! Finds secrets in text that is about to enter the history, by rules for well-known keys, a careful guess at the rest,
//! and the exact values that the attempt received. Deliberately absent: verification against services, and the found
//! value in any answer: a finding names only its rule.

use std::{collections::HashMap, sync::LazyLock};

use aho_corasick::AhoCorasick;
use devstack_shim::spellings::Spellings;
use regex::bytes::Regex;

use super::secret_rules::RULES;

/// Shorter values are not searched: they would match everywhere.
const EXACT_MIN: usize = 8;
/// The minimum entropy of a guessed secret, in bits per character: random base64 has about 5 at this length, words 3.
const ENTROPY_MIN: f64 = 4.0;
/// Longer lines, in bytes, are data (lock files, minified code): only the exact rules apply to them.
const LINE_MAX: usize = 4096;

/// Longer spellings are searched by their beginning: this much of a secret is a secret too.
const PATTERN_MAX: usize = 512;
/// The finding for an attempt's own secrets.
const GIVEN: &str = "a secret of this attempt";

/// A name that suggests a secret, and a literal assigned to it.
const ASSIGNMENT: &str = r#"(?i)\b[a-z0-9_.-]{0,40}(?:secret|passw(?:or)?d|token|api_?key|access_?key|private_?key|credential)[a-z0-9_]{0,20}["']?\s{0,4}(?::=|=>|[:=])\s{0,4}["']([A-Za-z0-9+/_=.~-]{20,200})["']"#;

static COMPILED: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    // If a rule does not compile, the test below fails.
    RULES.iter().filter_map(|rule| Some((rule.name, Regex::new(rule.pattern).ok()?))).collect()
});
static GUESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(ASSIGNMENT).ok());

/// The patterns to search.
#[derive(Default)]
pub struct Scanner {
    /// Spellings of the attempt's secret values; `None` if it has none.
    given: Option<AhoCorasick>,
    /// Those spellings that programs break into lines; searched in bytes without white space.
    codes: Option<AhoCorasick>,
}

impl Scanner {
    /// A scanner with the rules, and with this attempt's secret values in every common spelling.
    pub fn new(values: &[Vec<u8>]) -> Self {
        let (mut texts, mut codes) = (Vec::new(), Vec::new());
        for value in values.iter().map(|value| value.trim_ascii()).filter(|value| value.len() >= EXACT_MIN) {
            match std::str::from_utf8(value) {
                Ok(text) => {
                    let said = Spellings::of(text);
                    texts.extend(said.texts);
                    codes.extend(said.codes);
                }
                Err(_) => texts.push(value.to_vec()),
            }
        }
        for pattern in texts.iter_mut().chain(&mut codes) {
            pattern.truncate(PATTERN_MAX);
        }
        texts.extend_from_slice(&codes);
        Self { given: search(texts), codes: search(codes) }
    }

    /// The first finding in a line of text, by the name of its rule.
    pub fn line(&self, line: &[u8]) -> Option<&'static str> {
        if let Some(name) = self.bytes(line) {
            return Some(name);
        }
        if line.len() > LINE_MAX {
            return None;
        }
        let guessed = GUESS.as_ref()?.captures_iter(line).any(|found| {
            let value = found.get(1).map_or(&[][..], |m| m.as_bytes());
            looks_random(value)
        });
        guessed.then_some("a random value assigned to a secret's name")
    }

    /// The first exact finding in bytes of any kind: a name, a message, a binary file.
    pub fn bytes(&self, bytes: &[u8]) -> Option<&'static str> {
        self.given(bytes, None)
            .or_else(|| COMPILED.iter().find(|(_, rule)| rule.is_match(bytes)).map(|(name, _)| *name))
    }

    /// The first finding in a whole text, line by line: a commit's message.
    pub fn text(&self, text: &[u8]) -> Option<&'static str> {
        self.given(text, None).or_else(|| text.split(|b| *b == b'\n').find_map(|line| self.line(line)))
    }

    /// Whether a file contains a secret value more often than its earlier content did.
    pub fn given(&self, new: &[u8], old: Option<&[u8]>) -> Option<&'static str> {
        let whole = self.given.as_ref()?;
        let codes = self.codes.as_ref().filter(|_| new.contains(&b'\n'));
        let more = more_often(whole, new, old)
            || codes.is_some_and(|codes| more_often(codes, &unbroken(new), old.map(unbroken).as_deref()));
        more.then_some(GIVEN)
    }
}

fn search(mut patterns: Vec<Vec<u8>>) -> Option<AhoCorasick> {
    patterns.sort_unstable();
    patterns.dedup();
    // A few thousand bounded patterns at most: far below the automaton's limits, which are its only errors.
    if patterns.is_empty() { None } else { AhoCorasick::new(patterns).ok() }
}

/// Whether `new` contains some pattern more often than `old`.
fn more_often(search: &AhoCorasick, new: &[u8], old: Option<&[u8]>) -> bool {
    let Some(old) = old else { return search.is_match(new) };
    let count = |bytes| {
        let mut counts = HashMap::new();
        for found in search.find_overlapping_iter(bytes) {
            *counts.entry(found.pattern()).or_insert(0u64) += 1;
        }
        counts
    };
    if !search.is_match(new) {
        return false;
    }
    let before = count(old);
    count(new).into_iter().any(|(pattern, times)| times > before.get(&pattern).copied().unwrap_or(0))
}

/// Removes the white space with which programs break codes into lines.
fn unbroken(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

/// Whether the value mixes letters and digits, is as random as a key, and is not an obvious placeholder.
fn looks_random(value: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| value.iter().any(kind);
    let lower = value.to_ascii_lowercase();
    let placeholder = ["example", "placeholder", "changeme", "your", "xxxx", "dummy", "test", "fake", "sample"];
    has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !placeholder.iter().any(|p| lower.windows(p.len()).any(|part| part == p.as_bytes()))
        && entropy(value) >= ENTROPY_MIN
}

/// Bits per character, from the frequencies in the text itself.
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    let total = text.len() as f64;
    counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / total).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up key of each kind, assembled here so that no scanner finds one in this file.
    fn samples() -> Vec<(&'static str, String)> {
        let r = |n: usize| "aB3dE5gH7jK9mN1pQ4sT6vW8yZ0".chars().cycle().take(n).collect::<String>();
        vec![
            ("private key", ["-----BEGIN RSA PRIV", "ATE KEY-----"].concat()),
            ("AWS access key", ["AK", "IAIOSFODNN7", "ABCDEFG"].concat()),
            ("GitHub token", format!("{}_{}", "ghp", r(36))),
            ("GitHub token", format!("{}_{}", "ghs", r(36))),
            ("GitHub stateless token", format!("{}_1234567_ey{}{}.ey{}{}.{}", "ghs", "J", r(30), "J", r(300), r(86))),
            ("GitHub stateless token", format!("{}_ey{}{}.ey{}{}.{}-{}", "ghs", "J", r(30), "J", r(300), r(40), r(40))),
            ("GitHub fine-grained token", format!("github_{}_{}", "pat", r(70))),
            ("GitLab token", format!("{}-{}", "glpat", r(20))),
            ("Anthropic key", format!("sk-{}-{}", "ant", r(40))),
            ("OpenAI key", format!("sk-{}-{}", "proj", r(40))),
            ("Slack token", format!("{}-123456789012-{}", "xoxb", r(24))),
            ("Google API key", format!("{}{}", "AIza", r(35))),
            ("Google OAuth secret", format!("{}-{}", "GOCSPX", r(28))),
            ("Stripe key", format!("sk_{}_{}", "live", r(24))),
            ("npm token", format!("{}_{}", "npm", r(36))),
        ]
    }

    #[test]
    fn every_rule_compiles_is_dated_and_finds_its_kind() {
        assert_eq!(COMPILED.len(), RULES.len());
        assert!(GUESS.is_some());
        for (name, sample) in samples() {
            let line = format!("key = {sample} # x");
            assert_eq!(Scanner::default().line(line.as_bytes()), Some(name), "{sample}");
        }
        for rule in RULES {
            assert!(samples().iter().any(|(name, _)| *name == rule.name), "no sample of `{}`", rule.name);
            let (year, month) = rule.as_of.split_once('-').expect("YYYY-MM");
            assert!(year.parse::<u16>().is_ok_and(|year| year >= 2025), "{}", rule.as_of);
            assert!(month.parse::<u8>().is_ok_and(|month| (1..=12).contains(&month)), "{}", rule.as_of);
        }
    }

    #[test]
    fn exact_values_are_found_anywhere() {
        let values = vec![b"hunter2-hunter2\n".to_vec(), b"short".to_vec()];
        let scanner = Scanner::new(&values);
        assert!(scanner.bytes(b"\0\0hunter2-hunter2\0").is_some());
        assert!(scanner.line(b"hhunter2-hunter2").is_some());
        assert!(scanner.line(b"short hunter2-hunter").is_none());
    }

    /// A value with several lines that no rule matches.
    const LINES: &str =
        "-----BEGIN THING-----\nq7Zp2Lx9Vt4Rk8Wm1Ns6Yb3H\nKx5Jd8Pw0Gf2Tc7Vn4Ma9Le6\n-----END THING-----\n";

    #[test]
    fn a_value_of_several_lines_is_found_whole_by_line_and_in_codes_of_any_width() {
        let scanner = Scanner::new(&[LINES.as_bytes().to_vec()]);
        let found = |text: &str| scanner.given(text.as_bytes(), None).is_some();
        assert!(found(&format!("a\n{LINES}b")) && found("x q7Zp2Lx9Vt4Rk8Wm1Ns6Yb3H y"));
        assert!(found(&LINES.replace('\n', "\r\n")), "with other ends of lines");
        assert!(!found("-----BEGIN THING-----\nsomething else\n-----END THING-----"), "armor is public");
        let codes = Spellings::of(LINES.trim()).codes;
        assert!(codes.len() >= 8);
        for code in codes {
            let code = String::from_utf8(code).expect("ASCII");
            for width in [20, 57, 64, 76, usize::MAX] {
                let chunks: Vec<&str> =
                    code.as_bytes().chunks(width).map(|c| std::str::from_utf8(c).expect("ASCII")).collect();
                assert!(found(&chunks.join("\n  ")), "{width}: {code}");
            }
        }
    }

    #[test]
    fn what_a_file_held_before_is_not_new() {
        let scanner = Scanner::new(&[b"hunter2-hunter2".to_vec()]);
        let old = b"a\nhunter2-hunter2\n".as_slice();
        assert!(scanner.given(b"b\nhunter2-hunter2\n", Some(old)).is_none());
        assert!(scanner.given(b"hunter2-hunter2\nhunter2-hunter2\n", Some(old)).is_some());
        assert!(scanner.given(b"68756e746572322d68756e74657232", Some(old)).is_some(), "in another spelling");
    }

    #[test]
    fn the_beginning_of_a_very_long_value_is_enough() {
        let value: String = (0..20_000).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect();
        let scanner = Scanner::new(&[value.clone().into_bytes()]);
        assert!(scanner.bytes(&value.as_bytes()[..600]).is_some());
    }

    #[test]
    fn random_values_of_secret_names_are_guessed_and_ordinary_code_is_not() {
        let scanner = Scanner::default();
        let value = ["q7Zp2Lx9", "Vt4Rk8Wm", "1Ns6Yb3H"].concat();
        assert!(scanner.line(format!("db_password: \"{value}\"").as_bytes()).is_some());
        assert!(scanner.line(format!("API_KEY='{value}'").as_bytes()).is_some());
        for fine in [
            "let token = parse_token(&input_stream, context_of_parser)?;",
            "password = os.environ['DATABASE_PASSWORD_VARIABLE']",
            "secret: \"your-secret-here-0123456789\"",
            "token_kind = \"identifier_or_keyword_token\"",
            "integrity sha512-q7Zp2Lx9Vt4Rk8Wm1Ns6Yb3H+q7Zp2Lx9Vt4Rk8Wm==",
            "commit 0123456789abcdef0123456789abcdef01234567",
            "const ACCESS_KEY_NAME: &str = \"access_key_name_of_the_user\";",
        ] {
            assert_eq!(scanner.line(fine.as_bytes()), None, "{fine}");
        }
    }
}
