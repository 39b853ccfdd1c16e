//! The API's description (OpenAPI 3.1), made from the table of routes and the signatures of its handlers.
//! Routes without a sentence in the table have no place in it: those of nodes, which change with the nodes' version and
//! are for nobody else, and pages for browsers.
//! Deliberately absent: a description of its own of anything that the code says.

mod describe;
mod reference;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Access,
    error::{CODES, ErrorBody},
    routes::{ROUTES, Route},
};
use crate::config::{
    node::{Limits, SETTINGS},
    units,
};

pub use describe::{Described, Draft, Gives, Takes, describe};
pub use reference::reference;

/// Names of projects, tasks and hosts.
pub(super) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";

const ABOUT: &str = "devstack turns a plan, a DAG of tasks on a git repository, into merged commits. This is its whole API \
for people and programs. On the unix socket the mode of its file decides who may ask and no token is needed; on TCP (TLS 1.3) \
a request shows a named token with the role viewer, operator or admin. Answers are JSON unless their media type says otherwise: \
unknown values are null and never absent, times are RFC 3339 in UTC, and more fields may be added. A refusal is the error \
object with a stable code. A change takes an `Idempotency-Key`: the same key with the same request is carried out once. Lists \
come in pages: `next`, when it is not null, is the `after` of the next page. Routes for nodes are not described here: they \
belong to the version of the nodes.";

/// The document, with these limits in its words.
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

/// The routes that are described, and what the table says of them.
pub(super) fn described() -> impl Iterator<Item = (&'static Route, Says)> {
    ROUTES.iter().filter_map(|route| Some((route, route.says?)))
}

/// A sentence of the table and where the rest is read from.
#[derive(Debug, Clone, Copy)]
pub struct Says {
    /// The sentences, a line each.
    pub lines: &'static [&'static str],
    /// What its handler takes and gives.
    pub draft: fn() -> Draft,
    /// Statuses that it can be refused with, beyond those of its signature.
    pub also: &'static [u16],
}

/// The groups of the document: the first part of a path, and what it holds.
const TAGS: &[(&str, &str)] = &[
    ("plans", "what is to be done"),
    ("projects", "repositories and their integration branches"),
    ("tasks", "units of work: looked at, moved by people"),
    ("repos", "repositories on people's own machines, up and down"),
    ("agents", "who works"),
    ("hosts", "where"),
    ("merges", "what landed"),
    ("status", "the whole at a glance, and waiting"),
    ("facts", "what happened, as a history and as a stream"),
    ("cluster", "machines, tokens, joining, the log of changes"),
    ("node", "the node itself, for watchers"),
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
        let description = "The answer that the asker has: 304 while it is still right.";
        draft.header("If-None-Match", description, json!({ "type": "string" }));
        headers.insert(
            "ETag".into(),
            json!({ "description": "Changes with the answer.", "schema": { "type": "string" } }),
        );
    }
    let mut responses: BTreeMap<String, Value> =
        refused.iter().map(|status| (status.to_string(), reference_to(*status))).collect();
    if route.is_tagged() {
        responses.insert("304".into(), json!({ "description": "What the asker has is right.", "headers": headers }));
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

/// The statuses that a route can be refused with, in order.
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

/// What the statuses of refusals mean.
fn statuses() -> &'static [(u16, &'static str)] {
    &[
        (
            400,
            "The request is wrong, whatever the state: its path, query, headers or body. Every mistake of a plan is named.",
        ),
        (401, "There is no token, or one that is not good."),
        (403, "The token's role is not enough, or the plan's repository is not for plans over the network."),
        (404, "There is no such thing."),
        (409, "Valid, but refused by the present state; or the idempotency key was used with another request."),
        (410, "The facts asked for are no longer kept: read everything again."),
        (413, "The body is larger than this request takes."),
        (422, "What was sent is not what it says it is."),
        (429, "Too many at once: `Retry-After` says when to come again."),
        (500, "A defect or a failing disk; the node's log says more."),
        (503, "Not now: the node starts, stops, or cannot write."),
        (504, "It took too long; whether it was done is unknown. Repeat it with the same key."),
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

/// The limits that askers meet, by the name of their setting.
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
