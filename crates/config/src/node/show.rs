//! Every value of a `node.toml` and its origin, for `config show`. The output is itself a valid `node.toml`.
//! Deliberately absent: flags and variables. None of them sets a key of this file.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::{
    super::{problem::Problems, section::Reader, units},
    NodeConfig, OnDisconnect, RemoteCredential, Runtime, SETTINGS, Sandbox, Shard, read,
};
use devstack_telemetry::{Format, Target};

/// A setting and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Its table in the file.
    pub section: &'static str,
    /// Its key.
    pub key: &'static str,
    /// The value as in the file; null: not set, and without a default.
    pub value: Value,
    /// The line where the file sets it; `None`: the value is the default.
    pub line: Option<u32>,
    /// What a limit limits, and the reason for its default.
    pub why: Option<&'static str>,
}

impl Shown {
    /// The value in the syntax of the file; `None`: not set.
    pub fn written(&self) -> Option<String> {
        Some(toml_of(&self.value)?.to_string())
    }
}

/// Reads and checks a file. Returns every value that a node would use, in the order of the sections.
///
/// # Errors
/// All mistakes, or why the file cannot be read.
pub fn show(path: &Path) -> Result<Vec<Shown>, Problems> {
    let (name, text) = read(path)?;
    show_text(&name, &text)
}

fn show_text(file: &str, text: &str) -> Result<Vec<Shown>, Problems> {
    let mut values = values(&NodeConfig::parse(file, text)?);
    let lines = lines(text);
    for shown in &mut values {
        shown.line = lines.get(&(shown.section.to_owned(), shown.key.to_owned())).copied();
    }
    Ok(values)
}

/// All values, in the order of the examples.
fn values(config: &NodeConfig) -> Vec<Shown> {
    let host = &config.agent_host;
    let roles = [("taskmaster", config.roles.taskmaster), ("agent-host", config.roles.agent_host)];
    let roles: Vec<&str> = roles.into_iter().filter_map(|(role, is)| is.then_some(role)).collect();
    let shard = |shard: &Shard| json!({ "name": shard.name, "subnet": shard.subnet, "capacity": shard.capacity });
    let taskmaster = &config.taskmaster;
    let credential = |one: &RemoteCredential| {
        let known_hosts = one.known_hosts.as_ref().map(|file| file.display().to_string());
        json!({ "remote": one.remote.as_str(), "user": one.user, "file": one.file.display().to_string(), "known_hosts": known_hosts })
    };
    let runtime = match host.runtime {
        Runtime::Docker => "docker",
        Runtime::Process => "process",
    };
    let sandbox = match host.sandbox {
        Sandbox::Auto => "auto",
        Sandbox::Off => "off",
    };
    let on_disconnect = match host.on_disconnect {
        OnDisconnect::Continue => "continue",
        OnDisconnect::Stop => "stop",
    };
    let telemetry = &config.telemetry;
    let format = match telemetry.format {
        Format::Human => "human",
        Format::Json => "json",
    };
    let target = match telemetry.target {
        Target::Stderr => "stderr",
        Target::Journald => "journald",
    };
    let path = |path: &Path| json!(path.display().to_string());
    let webhook = config.webhook.as_ref();
    let words = [
        ("node", "name", json!(config.name.as_str())),
        ("node", "roles", json!(roles)),
        ("node", "labels", json!(config.labels)),
        ("node", "state_dir", json!(config.state_dir.display().to_string())),
        ("api", "listen", json!(config.api_listen.map(|address| address.to_string()))),
        ("api", "socket", json!(config.socket.display().to_string())),
        ("link", "listen", json!(config.link.listen.map(|address| address.to_string()))),
        ("link", "advertise", json!(config.link.advertise)),
        ("link", "join", json!(config.link.join)),
        (
            "taskmaster",
            "sources",
            json!(taskmaster.sources.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()),
        ),
        ("taskmaster", "remotes", json!(taskmaster.remotes.iter().map(|remote| remote.as_str()).collect::<Vec<_>>())),
        ("taskmaster", "credentials", json!(taskmaster.credentials.iter().map(credential).collect::<Vec<_>>())),
        ("agent_host", "runtime", json!(runtime)),
        ("agent_host", "docker", json!(format!("unix://{}", host.docker.display()))),
        ("agent_host", "slots", json!(host.slots)),
        ("agent_host", "sandbox", json!(sandbox)),
        ("agent_host", "roles", json!(host.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>())),
        ("agent_host", "on_disconnect", json!(on_disconnect)),
        ("agent_host", "shards", json!(host.shards.iter().map(shard).collect::<Vec<_>>())),
        ("agent_host", "bridge_reach", json!(host.bridge_reach)),
        ("agent_host", "unguarded_bridge", json!(host.unguarded_bridge)),
        ("agent_host", "log_driver", json!(host.log.driver.word())),
        ("agent_host", "log_options", json!(host.log.options)),
        ("dashboard", "export", json!(config.dashboard.export.as_ref().map(|file| file.display().to_string()))),
        ("dashboard", "export_interval", json!(units::format_duration(config.dashboard.export_interval))),
        ("telemetry", "format", json!(format)),
        ("telemetry", "target", json!(target)),
        ("telemetry", "filter", json!(telemetry.filter)),
        ("telemetry", "otlp_endpoint", json!(telemetry.otlp_endpoint)),
        ("telemetry", "ca_file", path(&telemetry.ca_file)),
        ("webhook", "url", json!(webhook.map(|webhook| &webhook.url))),
        (
            "webhook",
            "secret_file",
            webhook.and_then(|webhook| webhook.secret_file.as_deref()).map_or(Value::Null, path),
        ),
        ("webhook", "ca_file", webhook.map_or(Value::Null, |webhook| path(&webhook.ca_file))),
        ("webhook", "events", webhook.map_or(Value::Null, |_| json!(["waiting"]))),
    ];
    let words = words.map(|(section, key, value)| Shown { section, key, value, line: None, why: None });
    let limits = SETTINGS.iter().zip(config.limits.values()).map(|(setting, value)| Shown {
        section: setting.section,
        key: setting.key,
        value: setting.unit.written(value),
        line: None,
        why: Some(setting.why),
    });
    words.into_iter().chain(limits).collect()
}

/// The line of every key that a valid file sets.
fn lines(text: &str) -> BTreeMap<(String, String), u32> {
    let mut reader = Reader::new("", text);
    let mut lines = BTreeMap::new();
    for section in reader.document().into_iter().flat_map(|top| top.into_fields()) {
        let Some(table) = reader.table(section.value, "") else { continue };
        for field in table.into_fields().into_iter().filter(|field| !field.value.is_null()) {
            let newlines = text[..field.at].matches('\n').count();
            let line = u32::try_from(newlines + 1).unwrap_or(u32::MAX);
            lines.insert((section.key.to_string(), field.key.to_string()), line);
        }
    }
    lines
}

/// Converts a value and drops what is not set, since TOML has no null.
fn toml_of(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(is) => toml::Value::Boolean(*is),
        Value::Number(number) => toml::Value::Integer(number.as_i64()?),
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(toml_of).collect()),
        Value::Object(fields) => {
            toml::Value::Table(fields.iter().filter_map(|(key, value)| Some((key.clone(), toml_of(value)?))).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(values: &[Shown]) -> String {
        let line = |shown: &Shown| Some(format!("{}.{} = {}\n", shown.section, shown.key, shown.written()?));
        values.iter().filter_map(line).collect()
    }

    #[test]
    fn what_is_shown_is_what_was_read() {
        for text in ["", super::super::tests::FULL] {
            let config = NodeConfig::parse("node.toml", text).unwrap();
            let shown = written(&values(&config));
            assert_eq!(NodeConfig::parse("shown", &shown).unwrap(), config, "{shown}");
        }
    }

    #[test]
    fn every_key_of_the_file_is_shown_with_its_line() {
        let full = super::super::tests::FULL;
        let shown = show_text("node.toml", full).unwrap();
        let set: Vec<u32> = shown.iter().filter_map(|shown| shown.line).collect();
        let keys = full.lines().enumerate().filter(|(_, line)| line.contains(" = "));
        let mut found = set.clone();
        found.sort_unstable();
        assert_eq!(found, keys.map(|(index, _)| index as u32 + 1).collect::<Vec<_>>());
        assert!(shown.iter().any(|shown| shown.key == "suspect_after" && shown.line.is_none()));
    }

    #[test]
    fn json_has_its_lines_too_and_null_is_the_default() {
        let shown = show_text("node.json", "{\"node\": {\n\"name\": null,\n\"state_dir\": \"/x\"}}").unwrap();
        let line = |key: &str| shown.iter().find(|shown| shown.key == key).unwrap().line;
        assert_eq!((line("name"), line("state_dir")), (None, Some(3)));
    }

    #[test]
    fn what_is_wrong_is_not_shown() {
        assert!(show_text("node.toml", "[node]\nnmae = 1\n").unwrap_err().to_string().starts_with("node.toml:2:"));
    }
}
