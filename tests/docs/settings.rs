//! Every key of `node.toml`: its default as `devstack config show` prints it for an empty file, its meaning from the
//! comment above it in the examples.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Command};

use serde_json::Value;

/// What the examples say above each `(section, key)`; the longest, where several do.
fn comments() -> BTreeMap<(String, String), String> {
    let mut found: BTreeMap<(String, String), String> = BTreeMap::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    for file in fs::read_dir(dir).unwrap() {
        let (mut section, mut above) = (String::new(), Vec::new());
        for line in fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                above.push(comment.trim().to_owned());
                continue;
            }
            // What is off by default is there as `#key = …`.
            let line = line.strip_prefix('#').unwrap_or(line);
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, _)) = line.split_once(" = ") {
                let known = found.entry((section.clone(), key.to_owned())).or_default();
                let said = above.join(" ");
                if said.len() > known.len() {
                    *known = said;
                }
            }
            above.clear();
        }
    }
    found
}

pub(crate) fn section() -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    fs::write(&file, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_devstack"));
    let output = command.args(["-o", "json", "config", "show", "--config"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let comments = comments();
    let mut text = String::from(
        "## `node.toml`\n\nEvery key and its default. `devstack config show` prints what holds on a machine, `devstack-node check` finds mistakes.\n\n\
         | section | key | default | meaning |\n|---|---|---|---|\n",
    );
    for setting in shown["values"].as_array().unwrap() {
        let (section, key) = (setting["section"].as_str().unwrap(), setting["key"].as_str().unwrap());
        // What this machine is called, and how many processors it has, are no defaults of devstack.
        let default = match (section, key, &setting["value"]) {
            ("node", "name", _) => "the machine's name, up to its first dot".to_owned(),
            ("agent_host", "slots", _) => "one for each processor".to_owned(),
            (_, _, Value::Null) => "not set".to_owned(),
            (_, _, value) => format!("`{value}`"),
        };
        let meaning = comments.get(&(section.to_owned(), key.to_owned())).map_or("", String::as_str);
        writeln!(text, "| `[{section}]` | `{key}` | {default} | {} |", meaning.replace('|', "\\|")).unwrap();
    }
    text
}
