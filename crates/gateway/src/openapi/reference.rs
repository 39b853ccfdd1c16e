//! Writes the reference part of `docs/api.md` from the same table and signatures as the API description.
//! Deliberately absent: the prose around it.

use std::fmt::Write;

use serde_json::Value;

use super::{Says, TAGS, described, refusals, statuses, tag};
use crate::routes::Route;
use devstack_api::error::CODES;
use devstack_config::node::{SETTINGS, Unit};

/// Routes, limits and codes as Markdown. Writing into a `String` cannot fail, so results of `write!` are dropped.
pub fn reference() -> String {
    let mut out = String::new();
    for (name, means) in TAGS {
        let routes: Vec<(&Route, Says)> = described().filter(|(route, _)| tag(route.path) == *name).collect();
        let _ = write!(out, "## {name}: {means}\n\n");
        for (route, says) in routes {
            one(&mut out, route, says);
        }
    }
    out += "## Refusals\n\n| status | means |\n|---|---|\n";
    for (status, means) in statuses() {
        let _ = writeln!(out, "| {status} | {means} |");
    }
    out += "\n| code | status | means |\n|---|---|---|\n";
    for code in CODES {
        let _ = writeln!(out, "| `{}` | {} | {} |", code.code, code.status, code.means);
    }
    out += "\n## Limits\n\n| `[limits]` | default | why |\n|---|---|---|\n";
    for setting in SETTINGS.iter().filter(|setting| setting.section == "limits") {
        let unit = if setting.unit == Unit::Count { "" } else { "\"" };
        let value = setting.unit.written(setting.default);
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(out, "| `{}` | `{unit}{value}{unit}` | {} |", setting.key, setting.why);
    }
    out
}

fn one(out: &mut String, route: &Route, says: Says) {
    let draft = (says.draft)();
    let _ = write!(out, "### `{} {}`\n\n", route.method.to_uppercase(), route.path);
    for line in says.lines {
        let _ = writeln!(out, "{}", line.trim());
    }
    let _ = write!(out, "\nAccess: {}.", route.least.as_str());
    let list = |media: &serde_json::Map<String, Value>| {
        let all: Vec<String> = media.iter().map(|(kind, media)| format!("`{kind}`{}", named(media))).collect();
        all.join(" or ")
    };
    if let Some(content) = draft.body.as_ref().and_then(|body| body["content"].as_object()) {
        let _ = write!(out, " Body: {}.", list(content));
    }
    let _ = write!(out, " Answer: {}", list(&draft.content));
    out.push_str(if route.is_tagged() { ", with an `ETag`." } else { "." });
    let refused: Vec<String> = refusals(route, says, &draft).iter().map(u16::to_string).collect();
    let _ = write!(out, " Refusals: {}.\n\n", refused.join(", "));
    if draft.parameters.is_empty() {
        return;
    }
    out.push_str("| parameter | in | |\n|---|---|---|\n");
    for parameter in &draft.parameters {
        let text = |key: &str| parameter[key].as_str().unwrap_or_default();
        let required = if parameter["required"] == true && parameter["in"] != "path" { "; required" } else { "" };
        let description = text("description").replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(out, "| `{}` | {}{required} | {description} |", text("name"), text("in"));
    }
    out.push('\n');
}

/// The name of a schema, if it has one.
fn named(media: &Value) -> String {
    let schema = media["schema"]["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    schema.map(|name| format!(" ({name})")).unwrap_or_default()
}
