//! What ships logs to Elasticsearch: files that parse, and a template whose fields are those that lines really have.
//! Deliberately absent: an Elasticsearch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use devstack::telemetry::{Format, Output, Target, start, trace_id};
use serde_json::Value;

use crate::shipped;

/// A node that says two things. Not a test of its own.
#[test]
#[ignore = "run by the test below, which reads what it says"]
fn the_node() {
    start(&Output { format: Format::Json, target: Target::Stderr, node: "box2".into() }, "info").unwrap();
    tracing::warn!(attempt = "shop/T-1/3", host = "box2", error = "no room", "it ended");
    tracing::info!(task = "shop/T-2", "a task");
}

/// The lines that a node writes, by its own formatter.
fn lines() -> Vec<BTreeMap<String, Value>> {
    let mut node = Command::new(std::env::current_exe().unwrap());
    node.args(["--ignored", "--exact", "elk::the_node", "--nocapture"]).env_remove("DEVSTACK_LOG");
    let said = String::from_utf8(node.output().unwrap().stderr).unwrap();
    said.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Names of fields below `properties`, with dots.
fn fields(properties: &Value, above: &str, found: &mut BTreeMap<String, String>) {
    for (name, field) in properties.as_object().unwrap() {
        let name = format!("{above}{name}");
        match field.get("properties") {
            Some(below) => fields(below, &format!("{name}."), found),
            None => drop(found.insert(name, field["type"].as_str().unwrap().to_owned())),
        }
    }
}

/// The template's fields, and their types.
fn template() -> BTreeMap<String, String> {
    let [path] = shipped("elk", ".json").try_into().unwrap();
    let template: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut found = BTreeMap::new();
    fields(&template["template"]["mappings"]["properties"], "", &mut found);
    found
}

/// A YAML file as JSON; `None`, loudly: there is nothing to read it with.
fn yaml(path: &std::path::Path) -> Option<Value> {
    let code = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let python = Command::new("python3").args(["-c", "import yaml"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: the check of {} does not run here: python3 has no yaml", path.display());
        return None;
    }
    let read = Command::new("python3").args(["-c", code]).arg(path).output().unwrap();
    assert!(read.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&read.stderr));
    Some(serde_json::from_slice(&read.stdout).unwrap())
}

#[test]
fn the_template_has_the_fields_of_lines_and_lines_have_its_fields() {
    let (template, lines) = (template(), lines());
    assert_eq!(lines.len(), 2);
    let names: BTreeSet<&String> = lines.iter().flat_map(|line| line.keys()).collect();
    assert_eq!(names, template.keys().collect::<BTreeSet<_>>());
    assert_eq!(lines[0]["trace.id"], trace_id("shop", "T-1").as_str());
    for (name, value) in lines.iter().flatten() {
        let holds = match template[name].as_str() {
            "keyword" | "match_only_text" => value.is_string(),
            "date" => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            "long" => value.is_i64(),
            other => panic!("{name} is {other}"),
        };
        assert!(holds, "{name}: {value}");
    }
}

/// Labels of containers become the fields that the node's own lines have.
#[test]
fn what_containers_say_gets_the_same_fields() {
    let [path] = shipped("elk", ".yml").try_into().unwrap();
    let Some(config) = yaml(&path) else { return };
    let inputs = config["filebeat.inputs"].as_array().unwrap();
    let containers = inputs.iter().find(|input| input["id"] == "devstack-containers").unwrap();
    let renames = containers["processors"].as_array().unwrap().iter().find_map(|one| one.get("rename")).unwrap();
    let renamed: BTreeMap<&str, &str> = renames["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| (field["from"].as_str().unwrap(), field["to"].as_str().unwrap()))
        .collect();
    // The labels that a container has (`docker logging`).
    let labels = ["devstack.project", "devstack.task", "devstack.attempt", "devstack.host", "devstack.trace.id"];
    let mut from: BTreeSet<String> = labels.iter().map(|label| format!("docker.attrs.{label}")).collect();
    from.insert("docker.log".to_owned());
    assert_eq!(renamed.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), from);
    let template = template();
    assert!(renamed.values().all(|name| template.contains_key(*name)), "{renamed:?}");
}
