//! The part of an agent's profile that the shim must know: how the agent gets its prompt, which secrets are files, and
//! which line of its output is the last. Also: how fields are looked up in JSON lines, here and on the host.
//! Deliberately absent: any agent's name, and the meaning of the numbers in its output.

use std::{borrow::Cow, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Special properties of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Whether the prompt is on its standard input; otherwise the input is empty.
    pub prompt_on_stdin: bool,
    /// Secrets that are files, not environment variables.
    pub secret_files: Vec<SecretFile>,
    /// A directory to create on a file system in memory, where those files are kept; HOME has links to them. `None` if
    /// HOME itself is in memory.
    pub secret_dir: Option<PathBuf>,
    /// The rule for its last line.
    pub last: Option<Last>,
}

/// A secret below HOME.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// The secret's name.
    pub secret: String,
    /// Relative to HOME.
    pub path: String,
}

/// The line after which an agent has nothing more to do. Some agents hang there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// A JSON line in which each of these paths has one of the values.
    pub when: Vec<(String, Vec<String>)>,
    /// Such a line with these values reports a failure.
    pub error: Vec<(String, Vec<String>)>,
    /// How long the agent has to exit after its last output, in milliseconds.
    pub grace_ms: u64,
}

impl Last {
    /// The status that a line reports, if it is the last line: 0, or 1 for a failure.
    pub fn status(&self, line: &[u8]) -> Option<i32> {
        // A cheap check first: most lines of a long session do not match.
        let (_, values) = self.when.first()?;
        let candidate = |value: &String| line.windows(value.len().max(1)).any(|part| part == value.as_bytes());
        if !line.starts_with(b"{") || !values.iter().any(candidate) {
            return None;
        }
        let line: Value = serde_json::from_slice(line).ok()?;
        let holds = |when: &[(String, Vec<String>)]| {
            let one = |(path, values): &(String, Vec<String>)| is_one_of(&line, path, values);
            !when.is_empty() && when.iter().all(one)
        };
        holds(&self.when).then(|| i32::from(holds(&self.error)))
    }
}

/// Whether the scalar at a path is one of these values.
pub fn is_one_of<T: AsRef<str>>(line: &Value, path: &str, values: &[T]) -> bool {
    at(line, path).and_then(scalar).is_some_and(|found| values.iter().any(|value| value.as_ref() == found))
}

/// The value at a path: names separated by dots.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

/// A string, number or boolean as text.
pub fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        _ => None,
    }
}

/// The parts of a secret file that are secrets by themselves: the strings in a JSON file that are long enough to be
/// tokens.
pub fn parts_of(secret: &str) -> Vec<String> {
    const TOKEN_MIN: usize = 16;
    fn collect(value: Value, parts: &mut Vec<String>) {
        match value {
            Value::String(text) if text.len() >= TOKEN_MIN => parts.push(text),
            Value::Array(items) => items.into_iter().for_each(|item| collect(item, parts)),
            Value::Object(fields) => fields.into_iter().for_each(|(_, value)| collect(value, parts)),
            _ => {}
        }
    }
    let mut parts = Vec::new();
    if let Ok(value) = serde_json::from_str(secret) {
        collect(value, &mut parts);
    }
    parts.sort_unstable();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> Last {
        let one = |path: &str, value: &str| vec![(path.to_owned(), vec![value.to_owned()])];
        Last { when: one("type", "result"), error: one("is_error", "true"), grace_ms: 1 }
    }

    #[test]
    fn a_last_line_is_one_of_json_with_its_values() {
        assert_eq!(last().status(br#"{"type":"result","is_error":false}"#), Some(0));
        assert_eq!(last().status(br#"{"is_error":true,"type":"result"}"#), Some(1));
        for other in [
            &br#"{"type":"assistant","text":"{\"type\":\"result\"}"}"#[..],
            b" {\"type\":\"result\"}",
            b"{\"type\":\"result\"",
            b"result",
            b"",
            b"[]",
        ] {
            assert_eq!(last().status(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn tokens_in_a_file_are_secrets_too() {
        let file = r#"{"tokens":{"access":"abcdefghijklmnop","kind":"short"},"list":["ponmlkjihgfedcba"]}"#;
        assert_eq!(parts_of(file), ["abcdefghijklmnop", "ponmlkjihgfedcba"]);
        assert!(parts_of("plain text, no json").is_empty());
    }
}
