//! The example configurations: valid, complete, commented, and true to the defaults that they claim.

use std::{fs, process::Command};

use devstack::config::node::{LogDriver, NodeConfig, SETTINGS};

use crate::shipped;

/// Keys that are no limit.
const KEYS: [(&str, &[&str]); 8] = [
    ("node", &["name", "roles", "labels", "state_dir"]),
    ("api", &["listen", "socket"]),
    ("link", &["listen", "advertise", "join"]),
    ("taskmaster", &["sources", "remotes", "credentials"]),
    (
        "agent_host",
        &["runtime", "docker", "slots", "sandbox", "roles", "on_disconnect", "shards", "log_driver", "log_options"],
    ),
    ("dashboard", &["export", "export_interval"]),
    ("telemetry", &["format", "target", "filter", "otlp_endpoint", "ca_file"]),
    ("webhook", &["url", "secret_file", "ca_file", "events"]),
];

/// `(section, key)` of each line that sets something at the top of a section, or would: `#key = …`, without a space, is
/// for what is off by default.
fn keys(text: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, _)) = setting(line) {
            found.push((section.clone(), key.to_owned()));
        }
    }
    found
}

fn setting(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('#').unwrap_or(line);
    line.split_once(" = ").filter(|_| line.starts_with(char::is_alphabetic))
}

/// What is copied as it is must start: it asks for no file of its own and tells nobody.
#[test]
fn what_is_off_by_default_is_off_in_examples() {
    for path in shipped("examples", ".toml") {
        let config = NodeConfig::load(&path).unwrap();
        assert_eq!(config.agent_host.log.driver, LogDriver::JsonFile, "{}", path.display());
        assert_eq!(config.webhook, None, "{}", path.display());
        assert_eq!((config.telemetry.otlp_endpoint, config.dashboard.export), (None, None), "{}", path.display());
    }
}

#[test]
fn every_example_is_valid() {
    let examples = shipped("examples", ".toml");
    assert_eq!(examples.len(), 3);
    for path in examples {
        let text = fs::read_to_string(&path).unwrap();
        NodeConfig::parse(&path.display().to_string(), &text).unwrap();
        let checked =
            Command::new(env!("CARGO_BIN_EXE_devstack-node")).arg("--config").arg(&path).arg("check").output();
        let checked = checked.unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn every_key_stands_in_an_example() {
    let there: Vec<_> =
        shipped("examples", ".toml").iter().flat_map(|path| keys(&fs::read_to_string(path).unwrap())).collect();
    let limits = SETTINGS.iter().map(|setting| (setting.section, setting.key));
    let others = KEYS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, *key)));
    for (section, key) in limits.chain(others) {
        assert!(there.contains(&(section.to_owned(), key.to_owned())), "no example has `{key}` of [{section}]");
    }
}

#[test]
fn limits_in_examples_are_the_defaults() {
    for path in shipped("examples", ".toml") {
        let config = NodeConfig::load(&path).unwrap();
        assert_eq!(config.limits, devstack::config::node::Limits::default(), "{}", path.display());
    }
}

/// But for the few whose names say it all, each key follows a comment.
#[test]
fn the_limits_are_explained() {
    for path in shipped("examples", ".toml") {
        let text = fs::read_to_string(&path).unwrap();
        let single = path.ends_with("node.single.toml");
        let lines: Vec<_> = text.lines().collect();
        for (above, line) in lines.iter().zip(&lines[1..]) {
            let of_limits = SETTINGS.iter().any(|setting| line.starts_with(&format!("{} = ", setting.key)));
            if single && of_limits {
                assert!(above.starts_with('#'), "{line}");
            }
        }
    }
}
