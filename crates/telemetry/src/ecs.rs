//! Log lines as JSON objects in the Elastic Common Schema, with dots in names as its logging libraries write them.
//! Fields without a name in the schema go below `devstack.`. Deliberately absent: shipping (the collector of stderr
//! does it).

use serde_json::{Map, Value};

use super::line::Line;

/// The version of the schema whose field names are used.
const VERSION: &str = "8.11.0";

/// The fields that are the same on every line of a node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) hostname: String,
}

impl Node {
    /// One line, with its line break.
    pub(super) fn write(&self, line: &Line, at: jiff::Timestamp) -> Vec<u8> {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
        put("@timestamp", format!("{at:.6}").into());
        put("log.level", line.level.as_str().to_ascii_lowercase().into());
        put("message", line.message.as_str().into());
        put("ecs.version", VERSION.into());
        put("log.logger", line.target.into());
        put("service.name", "devstack".into());
        put("service.node.name", self.name.as_str().into());
        put("host.hostname", self.hostname.as_str().into());
        for (name, value) in line.subject() {
            match name {
                "trace.id" => put(name, value),
                _ => put(&format!("devstack.{name}"), value),
            }
        }
        for (name, value) in line.rest() {
            match name {
                "error" => put("error.message", value.clone()),
                _ => put(&format!("devstack.{name}"), value.clone()),
            }
        }
        // Only strings and numbers, which JSON can always encode.
        let mut text = serde_json::to_vec(&object).unwrap_or_default();
        text.push(b'\n');
        text
    }
}
