//! A JSON document that is opened one level at a time and knows the line of every value.
//! Deliberately absent: meaning.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a list cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line in the list, from 1.
    pub line: Option<u32>,
    /// What is wrong; lower case, no full stop.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake without a hint.
    pub(super) fn new(line: Option<u32>, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), hint: None }
    }

    /// Adds a hint: how to fix the mistake.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The text of a list.
pub(super) struct Source<'i> {
    text: &'i str,
    newlines: Vec<usize>,
}

/// An unopened value.
pub(super) type Raw<'i> = &'i RawValue;

impl<'i> Source<'i> {
    /// Checks that the bytes are UTF-8. A byte order mark is skipped.
    pub(super) fn new(bytes: &'i [u8]) -> Result<Self, Vec<Mistake>> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
            let hint = "convert the file to UTF-8, for example with `iconv -t utf-8`";
            vec![Mistake::new(number(line), "this is not UTF-8 text").hint(hint)]
        })?;
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
        Ok(Self { text, newlines })
    }

    /// The whole text.
    pub(super) fn text(&self) -> &'i str {
        self.text
    }

    /// The line that a part of the text starts on.
    pub(super) fn line(&self, part: &str) -> Option<u32> {
        // Raw values borrow from the document that they were read from.
        let at = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        number(self.newlines.partition_point(|&newline| newline < at) + 1)
    }

    /// The document as one object.
    pub(super) fn object(&self) -> Result<Fields<'i>, Vec<Mistake>> {
        self.read(self.text)
    }

    /// Reads a part of the text.
    pub(super) fn read<T: Deserialize<'i>>(&self, part: &'i str) -> Result<T, Vec<Mistake>> {
        serde_json::from_str(part).map_err(|error| {
            let before = self.line(part).unwrap_or(1) as usize;
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            vec![Mistake::new(number(before + error.line().saturating_sub(1)), format!("this is not valid: {message}"))]
        })
    }

    /// Whether the first non-empty line is an issue: an object with an id, and not a whole document with `tasks`.
    pub(super) fn first_line_is_issue(&self) -> bool {
        let first = self.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        serde_json::from_str::<Fields<'_>>(first)
            .is_ok_and(|fields| (fields.has("id") || fields.has("issue_id")) && !fields.has("tasks"))
    }
}

fn number(line: usize) -> Option<u32> {
    u32::try_from(line).ok()
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Borrowed<'i>(#[serde(borrow)] Cow<'i, str>);

/// An object, opened one level. Reading a key removes it; keys that are left at the end are unknown.
#[derive(Debug, Clone)]
pub(super) struct Fields<'i>(Vec<(Cow<'i, str>, Raw<'i>)>);

impl<'i> Fields<'i> {
    /// Removes a key and returns its value: the last one, if the key is given twice. `null` counts as missing.
    pub(super) fn take(&mut self, key: &str) -> Option<Raw<'i>> {
        let mut found = None;
        self.0.retain(|(name, value)| {
            let same = name == key;
            if same {
                found = Some(*value);
            }
            !same
        });
        found.filter(|value| value.get() != "null")
    }

    /// The value of a key, without removing the key.
    pub(super) fn peek(&self, key: &str) -> Option<Raw<'i>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Whether the key exists.
    pub(super) fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// All remaining keys with their values.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&str, Raw<'i>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<Borrowed<'de>, &'de RawValue>()? {
                    pairs.push((key.0, value));
                }
                Ok(Fields(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The items of a list; `None` for anything else.
pub(super) fn items<'i>(raw: Raw<'i>) -> Option<Vec<Raw<'i>>> {
    if raw.get().starts_with('[') { serde_json::from_str(raw.get()).ok() } else { None }
}

/// An object, opened; `None` for anything else.
pub(super) fn fields<'i>(raw: Raw<'i>) -> Option<Fields<'i>> {
    if raw.get().starts_with('{') { serde_json::from_str(raw.get()).ok() } else { None }
}

/// A string; `None` for anything else.
pub(super) fn text(raw: Raw<'_>) -> Option<String> {
    if raw.get().starts_with('"') { serde_json::from_str(raw.get()).ok() } else { None }
}

/// A string or a number, as a string: ids are written in both ways.
pub(super) fn word(raw: Raw<'_>) -> Option<String> {
    let is_number = raw.get().starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if is_number { Some(raw.get().to_owned()) } else { text(raw) }
}

/// A string, or a list of strings as lines; `None` for anything else.
pub(super) fn lines(raw: Raw<'_>) -> Option<String> {
    if let Some(text) = text(raw) {
        return Some(text);
    }
    let texts: Option<Vec<String>> = items(raw)?.into_iter().map(text).collect();
    Some(texts?.iter().map(|text| format!("- {text}")).collect::<Vec<_>>().join("\n"))
}
