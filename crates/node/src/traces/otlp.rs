//! `ExportTraceServiceRequest` in the JSON mapping of OTLP 1: lowerCamelCase names, ids in hexadecimal digits, 64-bit
//! numbers as strings. Deliberately absent: everything else of the protocol.

use serde::Serialize;

use super::tree::{Attribute, Span};

/// The sender.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The node.
    pub node: String,
    /// The installation's label.
    pub installation: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Attributes<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Attributes<'a> {
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Wire<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<&'a str>,
    name: &'a str,
    /// 1: internal.
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<KeyValue<'a>>,
    status: Status<'a>,
}

#[derive(Serialize)]
struct Status<'a> {
    /// 1: done, 2: failed.
    code: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'a str,
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Value<'a> {
    StringValue(&'a str),
    IntValue(String),
}

/// The body of a POST request.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let text = |key, text| KeyValue { key, value: Value::StringValue(text) };
    let attributes = vec![
        text("service.name", "devstack"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &resource.node),
        text("devstack.installation", &resource.installation),
    ];
    let scope = Scope { name: "devstack", version: env!("CARGO_PKG_VERSION") };
    let scope_spans = [ScopeSpans { scope, spans: spans.iter().map(wire).collect() }];
    let request = Request { resource_spans: [ResourceSpans { resource: Attributes { attributes }, scope_spans }] };
    // Only strings and small numbers, which JSON can always encode.
    serde_json::to_vec(&request).unwrap_or_default()
}

fn wire(span: &Span) -> Wire<'_> {
    let value = |attribute: &'_ Attribute| match attribute {
        Attribute::Number(number) => number.to_string(),
        Attribute::Text(_) => String::new(),
    };
    let attributes = span.attributes.iter().map(|(key, attribute)| KeyValue {
        key,
        value: match attribute {
            Attribute::Text(text) => Value::StringValue(text),
            Attribute::Number(_) => Value::IntValue(value(attribute)),
        },
    });
    let nanos = |ms: u64| (u128::from(ms) * 1_000_000).min(u128::from(u64::MAX)).to_string();
    Wire {
        trace_id: &span.trace,
        span_id: &span.id,
        parent_span_id: span.parent.as_deref(),
        name: span.name,
        kind: 1,
        start_time_unix_nano: nanos(span.start.0),
        end_time_unix_nano: nanos(span.end.0),
        attributes: attributes.collect(),
        status: Status {
            code: if span.failed.is_some() { 2 } else { 1 },
            message: span.failed.as_deref().unwrap_or(""),
        },
    }
}
