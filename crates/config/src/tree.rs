//! TOML and JSON as one kind of tree with positions. It is opened one level at a time, so that a plan of 100,000 tasks
//! is never held as a second complete tree.
//! Deliberately absent: meaning. [`super::section`] and its users check keys, types and values.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// An unopened value.
#[derive(Debug)]
pub(super) enum Raw<'i> {
    /// From a TOML document.
    Toml(Spanned<DeValue<'i>>),
    /// From a JSON document: a slice of it.
    Json(&'i RawValue),
}

/// A value, one level open.
#[derive(Debug)]
pub(super) enum Value<'i> {
    /// A string.
    Text(Cow<'i, str>),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
    Array(Vec<Raw<'i>>),
    /// Keys with their positions and values.
    Table(Vec<Field<'i>>),
    /// JSON's `null`: a known key with this value counts as missing.
    Null,
    /// A value that no setting can have: a date, or a number out of range.
    Other(&'static str),
}

/// One key of a table: its name, its byte offset, its value.
#[derive(Debug)]
pub(super) struct Field<'i> {
    /// The key.
    pub(super) key: Cow<'i, str>,
    /// The position of the key, as a byte offset.
    pub(super) at: usize,
    /// Its value.
    pub(super) value: Raw<'i>,
}

/// A syntax error: byte offset and message.
pub(super) type Syntax = (usize, String);

/// Opens a TOML document; returns all syntax errors at once.
pub(super) fn toml(text: &str) -> Result<Vec<Field<'_>>, Vec<Syntax>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(toml_fields(table.into_inner()));
    }
    let place = |e: &toml::de::Error| (e.span().map_or(0, |span| span.start), e.message().replace('\n', ", "));
    Err(errors.iter().map(place).collect())
}

/// Opens a JSON document.
pub(super) fn json(text: &str) -> Result<Vec<Field<'_>>, Vec<Syntax>> {
    let refused = |e: serde_json::Error| {
        let line_start = text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        vec![((line_start + e.column().saturating_sub(1)).min(text.len()), message)]
    };
    let Object(pairs) = serde_json::from_str(text).map_err(refused)?;
    Ok(json_fields(pairs, text))
}

impl<'i> Raw<'i> {
    /// Where the value starts in `text`, as a byte offset.
    pub(super) fn at(&self, text: &'i str) -> usize {
        match self {
            Self::Toml(value) => value.span().start,
            Self::Json(raw) => offset(text, raw.get()),
        }
    }

    /// Whether the value is JSON's `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Json(raw) if raw.get() == "null")
    }

    /// Opens one level.
    pub(super) fn open(self, text: &'i str) -> Value<'i> {
        match self {
            Self::Toml(value) => open_toml(value.into_inner()),
            Self::Json(raw) => open_json(raw.get(), text),
        }
    }
}

fn open_toml(value: DeValue<'_>) -> Value<'_> {
    match value {
        DeValue::String(text) => Value::Text(text),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("a number out of range"),
        },
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("a number out of range"), Value::Float),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::Array(items.into_iter().map(Raw::Toml).collect()),
        DeValue::Table(table) => Value::Table(toml_fields(table)),
    }
}

fn toml_fields(table: DeTable<'_>) -> Vec<Field<'_>> {
    let mut fields = Vec::with_capacity(table.len());
    for (key, value) in table {
        fields.push(Field { at: key.span().start, key: key.into_inner(), value: Raw::Toml(value) });
    }
    fields
}

fn open_json<'i>(raw: &'i str, text: &'i str) -> Value<'i> {
    let unreadable = Value::Other("a value out of range");
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Borrowed>(raw).map_or(unreadable, |text| Value::Text(text.0)),
        Some(b'{') => match serde_json::from_str::<Object>(raw) {
            Ok(Object(pairs)) => Value::Table(json_fields(pairs, text)),
            Err(_) => unreadable,
        },
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(raw)
            .map_or(unreadable, |items| Value::Array(items.into_iter().map(Raw::Json).collect())),
        Some(b't') => Value::Boolean(true),
        Some(b'f') => Value::Boolean(false),
        Some(b'n') => Value::Null,
        _ => match (raw.parse::<i64>(), raw.parse::<f64>()) {
            (Ok(number), _) => Value::Integer(number),
            (_, Ok(number)) => Value::Float(number),
            _ => unreadable,
        },
    }
}

fn json_fields<'i>(pairs: Vec<(Cow<'i, str>, &'i RawValue)>, text: &'i str) -> Vec<Field<'i>> {
    let field = |(key, raw): (_, &'i RawValue)| Field { key, at: offset(text, raw.get()), value: Raw::Json(raw) };
    pairs.into_iter().map(field).collect()
}

/// The offset of `part` in `text`: raw values borrow from the document that they were read from.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Borrowed<'i>(#[serde(borrow)] Cow<'i, str>);

/// A JSON object in document order, with duplicate keys.
struct Object<'i>(Vec<(Cow<'i, str>, &'i RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<Borrowed<'de>, &'de RawValue>()? {
                    pairs.push((key.0, value));
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
