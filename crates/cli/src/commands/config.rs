//! `config …`: checks a `node.toml`, and shows it with its defaults.
//! Deliberately absent: a running node. It reads the same file when it starts.

use std::path::Path;

use serde_json::json;

use super::Context;
use crate::{
    CliError, Exit,
    args::{ConfigCommand, ConfigFile},
    output::{Output, Paint},
};
use devstack_config::node::{self, NodeConfig, Shown};

pub(super) fn run(context: &Context<'_>, command: ConfigCommand) -> Result<Exit, CliError> {
    match command {
        ConfigCommand::Check(ConfigFile { config }) => check(context, &config),
        ConfigCommand::Show(ConfigFile { config }) => show(context, &config),
    }
}

fn check(context: &Context<'_>, path: &Path) -> Result<Exit, CliError> {
    let config = NodeConfig::load(path)?;
    let file = path.display().to_string();
    let body = json!({ "apiVersion": "v1", "file": file, "node": config.name.as_str() });
    context.print(&body.to_string().into(), |_| Ok(format!("{file} is a valid configuration of {}", config.name)))?;
    Ok(Exit::Ok)
}

fn show(context: &Context<'_>, path: &Path) -> Result<Exit, CliError> {
    let (values, file) = (node::show(path)?, path.display().to_string());
    let entry = |shown: &Shown| {
        let origin = if shown.line.is_some() { "file" } else { "default" };
        json!({
            "section": shown.section, "key": shown.key, "value": shown.value, "origin": origin,
            "file": shown.line.map(|_| &file), "line": shown.line, "why": shown.why,
        })
    };
    let body = json!({ "apiVersion": "v1", "values": values.iter().map(entry).collect::<Vec<_>>() });
    context.print(&body.to_string().into(), |_| Ok(page(context.output, &file, &values)))?;
    Ok(Exit::Ok)
}

/// Formats the settings as a `node.toml` whose comments name the origin of each value.
fn page(output: &Output, file: &str, values: &[Shown]) -> String {
    let set = |shown: &Shown| match shown.written() {
        Some(value) => format!("{} = {value}", shown.key),
        None => format!("# {} is not set", shown.key),
    };
    let lines: Vec<String> = values.iter().map(set).collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut section = "";
    for (shown, line) in values.iter().zip(lines) {
        if shown.section != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{}\n", output.paint(Paint::Bold, &format!("[{}]", shown.section))));
            section = shown.section;
        }
        let (origin, paint) = match shown.line {
            Some(number) => (format!("# {file}:{number}"), Paint::Cyan),
            None => ("# default".to_owned(), Paint::Dim),
        };
        text.push_str(&format!("{line:<width$}  {}\n", output.paint(paint, &origin)));
    }
    text
}
