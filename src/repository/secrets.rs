//! Finds secrets in text that is about to enter the history: rules for well-known keys, a careful guess at the rest,
//! and the exact values that the attempt was given.
//! Deliberately absent: verification against services, and the found value in any answer: a finding names its rule only.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// Values shorter than this are not searched for: they would be found everywhere.
const EXACT_MIN: usize = 8;
/// A guessed secret has at least so many bits a character: random base64 has about 5 at this length, words 3.
const ENTROPY_MIN: f64 = 4.0;
/// Longer lines are data (lock files, minified code): only the exact rules look at them, in bytes.
const LINE_MAX: usize = 4096;

/// Rules for keys that say what they are. A pattern's middle is broken up so that this file does not match itself.
const RULES: [(&str, &str); 12] = [
    ("private key", concat!("-----BEGIN (?:[A-Z0-9]+ )*PRIV", "ATE KEY(?: BLOCK)?-----")),
    ("AWS access key", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    ("GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    ("GitHub fine-grained token", r"\bgithub_pat_[A-Za-z0-9_]{60,}\b"),
    ("GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}\b"),
    ("Anthropic key", r"\bsk-ant-[A-Za-z0-9_-]{24,}"),
    ("OpenAI key", r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{24,}|\bsk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}\b"),
    ("Slack token", r"\bxox[abeoprs]-[0-9]{6,}-[A-Za-z0-9-]{16,}"),
    ("Google API key", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    ("Google OAuth secret", r"\bGOCSPX-[A-Za-z0-9_-]{28}\b"),
    ("Stripe key", r"\b[rs]k_live_[A-Za-z0-9]{24,}\b"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
];

/// A name that sounds like a secret, and a literal assigned to it.
const ASSIGNMENT: &str = r#"(?i)\b[a-z0-9_.-]{0,40}(?:secret|passw(?:or)?d|token|api_?key|access_?key|private_?key|credential)[a-z0-9_]{0,20}["']?\s{0,4}(?::=|=>|[:=])\s{0,4}["']([A-Za-z0-9+/_=.~-]{20,200})["']"#;

static COMPILED: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let compile = |(name, pattern): &(&'static str, &str)| Some((*name, Regex::new(pattern).ok()?));
    RULES.iter().filter_map(compile).collect() // a rule that does not compile fails the test below
});
static GUESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(ASSIGNMENT).ok());

/// What to look for.
#[derive(Default)]
pub struct Scanner<'a> {
    exact: Vec<&'a [u8]>,
}

impl<'a> Scanner<'a> {
    /// The rules, and the values that this attempt was given.
    pub fn new(values: &'a [Vec<u8>]) -> Self {
        Self { exact: values.iter().map(|v| v.trim_ascii()).filter(|v| v.len() >= EXACT_MIN).collect() }
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

    /// The first exact finding in bytes of any kind.
    pub fn bytes(&self, bytes: &[u8]) -> Option<&'static str> {
        if self.exact.iter().any(|value| contains(bytes, value)) {
            return Some("a secret that this attempt was given");
        }
        COMPILED.iter().find(|(_, rule)| rule.is_match(bytes)).map(|(name, _)| *name)
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some((first, _)) = needle.split_first() else { return false };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|b| b == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Letters and digits mixed, as random as a key, and not an obvious placeholder.
fn looks_random(value: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| value.iter().any(kind);
    let lower = value.to_ascii_lowercase();
    let placeholder = ["example", "placeholder", "changeme", "your", "xxxx", "dummy", "test", "fake", "sample"];
    has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !placeholder.iter().any(|p| contains(&lower, p.as_bytes()))
        && entropy(value) >= ENTROPY_MIN
}

/// Bits a character, from the frequencies in the text itself.
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

    /// Made up here, so that no scanner finds a key in this file.
    fn samples() -> Vec<String> {
        let r = |n: usize| "aB3dE5gH7jK9mN1pQ4sT6vW8yZ0".chars().cycle().take(n).collect::<String>();
        vec![
            ["-----BEGIN RSA PRIV", "ATE KEY-----"].concat(),
            ["AK", "IAIOSFODNN7", "ABCDEFG"].concat(),
            format!("{}_{}", "ghp", r(36)),
            format!("github_{}_{}", "pat", r(70)),
            format!("{}-{}", "glpat", r(20)),
            format!("sk-{}-{}", "ant", r(40)),
            format!("sk-{}-{}", "proj", r(40)),
            format!("{}-123456789012-{}", "xoxb", r(24)),
            format!("{}{}", "AIza", r(35)),
            format!("{}-{}", "GOCSPX", r(28)),
            format!("sk_{}_{}", "live", r(24)),
            format!("{}_{}", "npm", r(36)),
        ]
    }

    #[test]
    fn every_rule_compiles_and_finds_its_kind() {
        assert_eq!(COMPILED.len(), RULES.len());
        assert!(GUESS.is_some());
        for (sample, (name, _)) in samples().iter().zip(RULES) {
            assert_eq!(Scanner::default().line(format!("key = {sample} # x").as_bytes()), Some(name), "{sample}");
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
