//! Reads tables and collects every mistake: wrong types, unknown keys with "did you mean", duplicate keys.
//! Deliberately absent: which keys exist. Each reader names its own.

use std::borrow::Cow;

use super::{
    problem::{Problem, Problems},
    suggest::nearest,
    tree::{self, Field, Raw, Syntax, Value},
    units,
};

/// Error codes that all kinds of files share. Stable.
pub(crate) mod code {
    /// A file that is not valid TOML or JSON.
    pub(crate) const SYNTAX: &str = "DS0101";
    /// A key that devstack does not know.
    pub(crate) const UNKNOWN_KEY: &str = "DS0102";
    /// A value of the wrong type.
    pub(crate) const WRONG_TYPE: &str = "DS0103";
    /// A value that is not allowed.
    pub(crate) const BAD_VALUE: &str = "DS0104";
    /// A feature that is not built yet.
    pub(crate) const NOT_BUILT: &str = "DS0105";
    /// Something required is missing.
    pub(crate) const MISSING: &str = "DS0110";
    /// The file (or one that it names) cannot be read.
    pub(crate) const UNREADABLE: &str = "DS0111";
}

/// A value and its position, as a byte offset.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    /// The offset.
    pub(super) at: usize,
    /// The value.
    pub(super) value: T,
}

/// The document being read, and its mistakes so far.
pub(super) struct Reader<'i> {
    /// The document.
    pub(super) text: &'i str,
    file: &'i str,
    found: Vec<(usize, Problem)>,
    dropped: usize,
}

impl<'i> Reader<'i> {
    /// A reader without mistakes. `file` is the document's name in messages.
    pub(super) fn new(file: &'i str, text: &'i str) -> Self {
        Self { text, file, found: Vec::new(), dropped: 0 }
    }

    /// Opens the top level. A JSON document starts with `{`.
    pub(super) fn document(&mut self) -> Option<Table<'i>> {
        let mut start = self.text.trim_start().chars().filter(|c| !c.is_whitespace());
        // A JSON list is not a valid document, but its error should not be about TOML.
        let is_json = match start.next() {
            Some('[') => matches!(start.next(), Some('{' | ']')),
            first => first == Some('{'),
        };
        let opened = if is_json { tree::json(self.text) } else { tree::toml(self.text) };
        match opened {
            Ok(fields) => Some(Table { at: 0, what: String::new(), fields }),
            Err(errors) => {
                let kind = if is_json { "JSON" } else { "TOML" };
                errors.into_iter().for_each(|(at, message): Syntax| {
                    self.add(at, code::SYNTAX, format!("this is not valid {kind}: {message}"), None);
                });
                None
            }
        }
    }

    /// Records a problem at an offset.
    pub(super) fn add(&mut self, at: usize, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        if self.found.len() >= Problems::KEPT {
            self.dropped += 1;
            return;
        }
        let problem = Problem { hint: hint.map(Into::into), ..Problem::new(code, message) };
        self.found.push((at, problem));
    }

    /// Records the problems of another file that is named at an offset of this one.
    pub(super) fn adopt(&mut self, at: usize, problems: Problems) {
        let kept = Problems::KEPT.saturating_sub(self.found.len());
        let problems = problems.into_vec();
        self.dropped += problems.len().saturating_sub(kept);
        self.found.extend(problems.into_iter().take(kept).map(|problem| (at, problem)));
    }

    /// Whether there are no mistakes so far.
    pub(super) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// All problems in the order of their lines; `Ok` if there are none.
    pub(super) fn finish(mut self) -> Result<(), Problems> {
        self.found.sort_by_key(|(at, _)| *at);
        let starts: Vec<usize> = match self.found.is_empty() {
            true => Vec::new(),
            false => self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect(),
        };
        let place = |(at, problem): (usize, Problem)| {
            if problem.file.is_some() {
                return problem;
            }
            let line = starts.partition_point(|newline| *newline < at) + 1;
            problem.at(self.file, u32::try_from(line).ok())
        };
        let mut problems: Vec<Problem> = self.found.into_iter().map(place).collect();
        if self.dropped > 0 {
            problems.push(Problem::new(code::BAD_VALUE, format!("and {} more", self.dropped)).at(self.file, None));
        }
        Problems::from_list(problems).map_or(Ok(()), Err)
    }

    /// Opens a value that must be a table. `what` names it in messages: `[project]`, `task T-001`.
    pub(super) fn table(&mut self, raw: Raw<'i>, what: impl Into<String>) -> Option<Table<'i>> {
        let (at, what) = (raw.at(self.text), what.into());
        match raw.open(self.text) {
            Value::Table(fields) => Some(Table { at, what, fields }),
            other => {
                self.mistyped(at, &what, "a table", &other);
                None
            }
        }
    }

    fn mistyped(&mut self, at: usize, what: &str, wanted: &str, found: &Value<'_>) {
        self.add(at, code::WRONG_TYPE, format!("{what} must be {wanted}, not {}", name_of(found)), None);
    }
}

/// An open table. Reading a key removes it; keys that are left at the end are unknown.
pub(super) struct Table<'i> {
    /// Its position, as a byte offset.
    pub(super) at: usize,
    /// Its name in messages; empty at the top level.
    pub(super) what: String,
    fields: Vec<Field<'i>>,
}

impl<'i> Table<'i> {
    /// Removes a key and returns it.
    pub(super) fn take(&mut self, reader: &mut Reader<'i>, key: &str) -> Option<Field<'i>> {
        let index = self.fields.iter().position(|field| field.key == key)?;
        let first = self.fields.remove(index);
        while let Some(index) = self.fields.iter().position(|field| field.key == key) {
            let double = self.fields.remove(index);
            reader.add(double.at, code::BAD_VALUE, format!("`{key}`{} is given twice", self.of()), None);
        }
        Some(first).filter(|field| !field.value.is_null())
    }

    /// Whether the table has no keys left.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the key exists with any value but null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.iter().any(|field| field.key == key && !field.value.is_null())
    }

    /// All remaining fields, for tables whose keys are names.
    pub(super) fn into_fields(self) -> Vec<Field<'i>> {
        self.fields
    }

    fn open<T>(
        &mut self,
        reader: &mut Reader<'i>,
        key: &str,
        wanted: &str,
        read: impl FnOnce(Value<'i>) -> Result<T, Value<'i>>,
    ) -> Option<At<T>> {
        let field = self.take(reader, key)?;
        // TOML values and keys share a line; in JSON only the position of the value is known.
        match read(field.value.open(reader.text)) {
            Ok(value) => Some(At { at: field.at, value }),
            Err(other) => {
                reader.mistyped(field.at, &format!("`{key}`{}", self.of()), wanted, &other);
                None
            }
        }
    }

    /// Reads a string.
    pub(super) fn text(&mut self, reader: &mut Reader<'i>, key: &str) -> Option<At<Cow<'i, str>>> {
        self.open(reader, key, "a string", |value| match value {
            Value::Text(text) => Ok(text),
            other => Err(other),
        })
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&mut self, reader: &mut Reader<'i>, key: &str) -> Option<At<bool>> {
        self.open(reader, key, "true or false", |value| match value {
            Value::Boolean(value) => Ok(value),
            other => Err(other),
        })
    }

    /// Reads a whole number within `min..=max`.
    pub(super) fn integer(&mut self, reader: &mut Reader<'i>, key: &str, min: u32, max: u32) -> Option<At<u32>> {
        let found = self.open(reader, key, "a whole number", |value| match value {
            Value::Integer(number) => Ok(number),
            other => Err(other),
        })?;
        match u32::try_from(found.value) {
            Ok(value) if (min..=max).contains(&value) => Some(At { at: found.at, value }),
            _ => {
                let message = format!("`{key}`{} is {}; it must be {min} to {max}", self.of(), found.value);
                reader.add(found.at, code::BAD_VALUE, message, None);
                None
            }
        }
    }

    /// Reads a number.
    pub(super) fn number(&mut self, reader: &mut Reader<'i>, key: &str) -> Option<At<f64>> {
        self.open(reader, key, "a number", |value| match value {
            Value::Float(number) => Ok(number),
            Value::Integer(number) => Ok(number as f64),
            other => Err(other),
        })
    }

    /// Reads a list of strings.
    pub(super) fn texts(&mut self, reader: &mut Reader<'i>, key: &str) -> Option<At<Vec<At<Cow<'i, str>>>>> {
        let items = self.array(reader, key, "a list of strings")?;
        let count = items.value.len();
        let mut texts = Vec::with_capacity(count);
        for item in items.value {
            let at = item.at(reader.text);
            match item.open(reader.text) {
                Value::Text(value) => texts.push(At { at, value }),
                other => reader.mistyped(at, &format!("every item of `{key}`{}", self.of()), "a string", &other),
            }
        }
        (texts.len() == count).then_some(At { at: items.at, value: texts })
    }

    /// Reads a list without opening its items.
    pub(super) fn array(&mut self, reader: &mut Reader<'i>, key: &str, wanted: &str) -> Option<At<Vec<Raw<'i>>>> {
        self.open(reader, key, wanted, |value| match value {
            Value::Array(items) => Ok(items),
            other => Err(other),
        })
    }

    /// Reads a duration in milliseconds within `min..=max`.
    pub(super) fn duration(&mut self, reader: &mut Reader<'i>, key: &str, min: u64, max: u64) -> Option<At<u64>> {
        let text = self.text(reader, key)?;
        let (low, high) = (units::format_duration(min), units::format_duration(max));
        match units::parse_duration(&text.value) {
            Ok(value) if (min..=max).contains(&value) => return Some(At { at: text.at, value }),
            Ok(_) => {
                let message = format!("`{key}`{} is {}; it must be {low} to {high}", self.of(), text.value);
                reader.add(text.at, code::BAD_VALUE, message, None);
            }
            Err(why) => reader.add(text.at, code::BAD_VALUE, format!("`{key}`{}: {why}", self.of()), None),
        }
        None
    }

    /// Reads a size in bytes, at least `min`.
    pub(super) fn size(&mut self, reader: &mut Reader<'i>, key: &str, min: u64) -> Option<At<u64>> {
        let text = self.text(reader, key)?;
        match units::parse_size(&text.value) {
            Ok(value) if value >= min => return Some(At { at: text.at, value }),
            Ok(_) => {
                let message =
                    format!("`{key}`{} is {}; it must be at least {}", self.of(), text.value, units::format_size(min));
                reader.add(text.at, code::BAD_VALUE, message, None);
            }
            Err(why) => reader.add(text.at, code::BAD_VALUE, format!("`{key}`{}: {why}", self.of()), None),
        }
        None
    }

    /// Reads the free space to keep on a disk; see [`units::parse_reserve`].
    pub(super) fn reserve(&mut self, reader: &mut Reader<'i>, key: &str) -> Option<At<u64>> {
        let text = self.text(reader, key)?;
        match units::parse_reserve(&text.value) {
            Ok(value) => Some(At { at: text.at, value }),
            Err(why) => {
                reader.add(text.at, code::BAD_VALUE, format!("`{key}`{}: {why}", self.of()), None);
                None
            }
        }
    }

    /// Reads one word of a fixed set.
    pub(super) fn word<T: Copy>(&mut self, reader: &mut Reader<'i>, key: &str, words: &[(&str, T)]) -> Option<At<T>> {
        let text = self.text(reader, key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At { at: text.at, value: *value });
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("`{key}`{} is `{}`; it must be one of {}", self.of(), text.value, known.join(", "));
        let hint = nearest(&text.value, known).map(|word| format!("did you mean `{word}`?"));
        reader.add(text.at, code::BAD_VALUE, message, hint);
        None
    }

    /// Refuses keys of features that are not built. The second text of each says what to use instead.
    pub(super) fn not_built(&mut self, reader: &mut Reader<'i>, keys: &[(&str, &str)]) {
        for (key, instead) in keys {
            if let Some(field) = self.take(reader, key) {
                let message = format!("`{key}`{} is not built yet", self.of());
                reader.add(field.at, code::NOT_BUILT, message, Some((*instead).to_owned()));
            }
        }
    }

    /// Refuses the remaining keys. `known` are all keys of this table, for "did you mean".
    pub(super) fn finish(self, reader: &mut Reader<'i>, known: &[&str]) {
        let of = self.of();
        for field in self.fields {
            let hint = match nearest(&field.key, known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            reader.add(field.at, code::UNKNOWN_KEY, format!("unknown key `{}`{of}", field.key), Some(hint));
        }
    }

    /// ` of [project]`, or nothing at the top level.
    pub(super) fn of(&self) -> String {
        if self.what.is_empty() { String::new() } else { format!(" of {}", self.what) }
    }
}

fn name_of(value: &Value<'_>) -> &'static str {
    match value {
        Value::Text(_) => "a string",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
        Value::Null => "null",
        Value::Other(what) => what,
    }
}
