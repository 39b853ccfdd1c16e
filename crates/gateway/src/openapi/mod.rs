//! Builds the API description (OpenAPI 3.1) from the table of routes and the signatures of its handlers. Routes without
//! a sentence in the table are left out: the routes of nodes, which change with the version of the nodes and are only
//! for nodes, and pages for browsers.
//! Deliberately absent: separate descriptions of anything that the code states.

mod describe;
mod reference;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Access,
    error::{CODES, ErrorBody},
    routes::{ROUTES, Route},
};
use devstack_config::{
    node::{Limits, SETTINGS},
    units,
};

pub use describe::{Described, Draft, Gives, Takes, describe};
pub use reference::reference;

/// The pattern of names of projects, tasks and hosts.
pub(super) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";

const ABOUT: &str = "devstack turns a plan, a DAG of tasks on a git repository, into merged commits. This is the whole \
API for users and programs. On the unix socket the mode of the file decides who has access, and no token is needed; on \
TCP (TLS 1.3) a request carries a named token with the role viewer, operator or admin. Answers are JSON unless their \
media type differs: unknown values are null and never absent, times are RFC 3339 in UTC, and fields may be added. A \
refusal is the error object with a stable code. A change accepts an `Idempotency-Key`: the same key with the same \
request is carried out once. Lists come in pages: `next`, unless it is null, is the `after` of the next page. Routes \
for nodes are not described here, because they change with the version of the nodes.";

/// Builds the document with the given limits.
pub fn document(limits: &Limits) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut schemas = BTreeMap::new();
    for (route, says) in described() {
        let mut draft = (says.draft)();
        schemas.append(&mut draft.schemas);
        paths.entry(route.path).or_default().insert(route.method.to_owned(), operation(route, says, draft));
    }
    let mut errors = Draft::default();
    errors.answer::<ErrorBody>();
    schemas.append(&mut errors.schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "devstack",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "a Taskmaster" }],
        "tags": TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": statuses().iter().map(|(status, said)| (name(*status), response(*status, said))).collect::<Map<_, _>>(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of `devstack token create`; on TCP only." },
            },
        },
        "x-limits": limits_said(limits),
    })
}

/// The described routes, with their sentences.
pub(super) fn described() -> impl Iterator<Item = (&'static Route, Says)> {
    ROUTES.iter().filter_map(|route| Some((route, route.says?)))
}

/// The sentences of a route, and the source of the rest.
#[derive(Debug, Clone, Copy)]
pub struct Says {
    /// The sentences, one per line.
    pub lines: &'static [&'static str],
    /// The input and the answer of the handler.
    pub draft: fn() -> Draft,
    /// Statuses of refusals, beyond those of the signature.
    pub also: &'static [u16],
}

/// The groups of the document: the first part of a path, with a description.
const TAGS: &[(&str, &str)] = &[
    ("plans", "tasks to do, as one document"),
    ("projects", "repositories and their integration branches"),
    ("tasks", "units of work: read them and act on them"),
    ("repos", "repositories on users' machines: push and fetch"),
    ("agents", "workers of each role"),
    ("hosts", "where"),
    ("merges", "completed merges"),
    ("status", "an overview, and waiting for the end"),
    ("facts", "events, as a history and as a stream"),
    ("cluster", "machines, tokens, joining, the audit log"),
    ("node", "the node itself, for monitoring"),
];

fn tag(path: &str) -> &str {
    match path.trim_start_matches('/').trim_start_matches("v1/").split('/').next() {
        Some("wait") => "status",
        Some("tokens" | "join" | "audit") => "cluster",
        Some("healthz" | "readyz" | "metrics" | "openapi.json") => "node",
        Some(known) if TAGS.iter().any(|(tag, _)| *tag == known) => known,
        _ => "node",
    }
}

fn operation(route: &Route, says: Says, mut draft: Draft) -> Value {
    let lines: Vec<&str> = says.lines.iter().map(|line| line.trim()).collect();
    let refused = refusals(route, says, &draft);
    let mut headers = Map::new();
    if route.is_tagged() {
        let description =
            "The ETag of the answer that the client has. The response is 304 while that answer is current.";
        draft.header("If-None-Match", description, json!({ "type": "string" }));
        headers.insert(
            "ETag".into(),
            json!({ "description": "Changes with the answer.", "schema": { "type": "string" } }),
        );
    }
    let mut responses: BTreeMap<String, Value> =
        refused.iter().map(|status| (status.to_string(), reference_to(*status))).collect();
    if route.is_tagged() {
        responses.insert(
            "304".into(),
            json!({ "description": "The answer that the client has is current.", "headers": headers }),
        );
    }
    let good = json!({ "description": "Done.", "content": draft.content, "headers": headers });
    responses.insert("200".into(), good);
    let id = route.path.trim_start_matches("/v1/").replace(['{', '}'], "").replace(['/', '-', '.'], "_");
    let mut operation = json!({
        "operationId": format!("{}_{}", route.method, id.trim_start_matches('_')),
        "tags": [tag(route.path)],
        "summary": lines.first(),
        "description": lines.join("\n"),
        "parameters": draft.parameters,
        "responses": responses,
        "x-access": route.least.as_str(),
    });
    if let Some(body) = draft.body {
        operation["requestBody"] = body;
    }
    operation["security"] = if route.least == Access::Anyone { json!([]) } else { json!([{ "token": [] }]) };
    operation
}

/// The statuses of refusals of a route, in order.
pub(super) fn refusals(route: &Route, says: Says, draft: &Draft) -> Vec<u16> {
    let mut all = vec![429, 500, 503];
    if route.least != Access::Anyone {
        all.extend([401, 403]);
    }
    if !draft.parameters.is_empty() {
        all.extend([400]);
    }
    if !route.group.is_streaming() {
        all.push(504);
    }
    if route.path.contains('{') {
        all.push(404);
    }
    all.extend(&draft.statuses);
    all.extend(says.also);
    all.sort_unstable();
    all.dedup();
    all
}

/// The meaning of each status of refusals.
fn statuses() -> &'static [(u16, &'static str)] {
    &[
        (400, "The path, query, headers or body of the request is wrong. Every mistake of a plan is named."),
        (401, "The token is missing or not valid."),
        (403, "The token's role is not sufficient, or plans sent over the network may not use this repository."),
        (404, "Not found."),
        (409, "Valid, but refused in the current state; or the idempotency key was used with another request."),
        (410, "The requested facts are no longer kept. Read everything again."),
        (413, "The body is larger than this request allows."),
        (422, "The upload does not match its description."),
        (429, "Too many requests. Try again after `Retry-After`."),
        (500, "A bug or a failing disk; see the log of the node."),
        (503, "Temporarily unavailable: the node is starting, stopping, or cannot write."),
        (504, "The request took too long, and its outcome is unknown. Repeat it with the same key."),
    ]
}

fn name(status: u16) -> String {
    format!("Refused{status}")
}

fn reference_to(status: u16) -> Value {
    json!({ "$ref": format!("#/components/responses/{}", name(status)) })
}

fn response(status: u16, said: &str) -> Value {
    let codes: Vec<String> = CODES
        .iter()
        .filter(|code| code.status == status)
        .map(|code| format!("`{}` {}", code.code, code.means))
        .collect();
    let description = if codes.is_empty() { said.to_owned() } else { format!("{said} Codes: {}", codes.join("; ")) };
    let mut response = json!({
        "description": description,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } },
    });
    let header = match status {
        401 => Some(("WWW-Authenticate", json!({ "description": "`Bearer`", "schema": { "type": "string" } }))),
        429 => {
            let seconds = json!({ "type": "integer", "minimum": 1 });
            Some(("Retry-After", json!({ "description": "Seconds.", "required": true, "schema": seconds })))
        }
        _ => None,
    };
    if let Some((name, header)) = header {
        response["headers"] = json!({ name: header });
    }
    response
}

/// The limits that clients meet, by the name of their setting.
fn limits_said(limits: &Limits) -> Value {
    let settings = SETTINGS.iter().zip(limits.values()).filter(|(setting, _)| setting.section == "limits");
    let said = settings.map(|(setting, value)| {
        let written = match setting.unit.written(value) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        (setting.key.to_owned(), json!({ "value": written, "why": setting.why }))
    });
    let mut all: Map<String, Value> = said.collect();
    let message = units::format_size(super::routes::MESSAGE_MAX as u64);
    all.insert("message".into(), json!({ "value": message, "why": "the body of any other change" }));
    Value::Object(all)
}
