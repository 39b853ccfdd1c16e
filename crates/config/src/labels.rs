//! Labels: properties of a machine, and requirements of a role: `gpu = "a100"`. The same rules apply to both.
//! Deliberately absent: matching (crate dag).

use std::collections::BTreeMap;

use super::section::{Reader, Table, code};
use super::tree::Value;

/// The longest key or value, in bytes: as in other orchestrators.
const TEXT_MAX: usize = 63;
/// The most labels of a machine or a role: they are sent with every report.
const COUNT_MAX: usize = 32;

/// Reads a table of labels.
pub(super) fn read<'i>(reader: &mut Reader<'i>, table: Table<'i>) -> BTreeMap<String, String> {
    let (at, what) = (table.at, table.what.clone());
    let mut labels = BTreeMap::new();
    for field in table.into_fields() {
        let key = field.key.to_string();
        match field.value.open(reader.text) {
            Value::Text(value) if is_label(&key) && is_label(&value) => {
                if labels.insert(key.clone(), value.into_owned()).is_some() {
                    reader.add(field.at, code::BAD_VALUE, format!("`{key}` in {what} is given twice"), None);
                }
            }
            _ => {
                let message = format!("`{key}` in {what} is not a label");
                let hint =
                    format!("write key = \"value\"; both have 1 to {TEXT_MAX} letters, digits, `-`, `_`, `.` and `/`");
                reader.add(field.at, code::BAD_VALUE, message, Some(hint));
            }
        }
    }
    if labels.len() > COUNT_MAX {
        reader.add(at, code::BAD_VALUE, format!("{what} has {} labels; at most {COUNT_MAX}", labels.len()), None);
    }
    labels
}

fn is_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    (1..=TEXT_MAX).contains(&text.len()) && text.chars().all(plain)
}
