//! `/metrics` as Prometheus reads it: the real one scrapes a real node, the shipped rules fire when their condition is
//! made real, and the shipped dashboard asks for nothing that is not there.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use regex::Regex;
use serde_json::Value;

use crate::{
    boss::{Boss, installed, shipped, until},
    http::{get_tcp, get_unix},
    loopback::own_address,
};

/// One done, one that fails for good, one for a person.
const TASKS: &str = "[[task]]\nid = \"good\"\nprompt = \"x\"\n[[task]]\nid = \"bad\"\nprompt = \"x\"\ncommand = [\"false\"]\n\
                     [[task]]\nid = \"human\"\nexecutor = \"human\"\nprompt = \"x\"\n";

/// Attempts are processes, and no bridge is needed.
const PROCESSES: &str = "[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\nslots = 2\n";

struct Prometheus(Child, String);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Prometheus {
    /// With the shipped configuration, its paths and its address filled in and everything at the pace of a test.
    fn start(boss: &Boss) -> Self {
        let token = boss.path("prometheus.token");
        fs::write(&token, boss.says(&["token", "create", "--role", "viewer"])).unwrap();
        let (ca, data) = (boss.path("state/cluster/ca.pem"), boss.path("prometheus"));
        let mut config = shipped("prometheus/prometheus.yml");
        for (shipped, here) in [
            ("/etc/prometheus/devstack-ca.pem", ca.to_str().unwrap()),
            ("/etc/prometheus/devstack.token", token.to_str().unwrap()),
            ("taskmaster.example:7421", &boss.api),
            ("scrape_interval: 15s", "scrape_interval: 200ms\n  scrape_timeout: 200ms"),
            ("evaluation_interval: 15s", "evaluation_interval: 200ms"),
        ] {
            assert!(config.contains(shipped), "{shipped}");
            config = config.replace(shipped, here);
        }
        let rules =
            Regex::new("for: [0-9]+m").unwrap().replace_all(&shipped("prometheus/alerts.yml"), "for: 0s").into_owned();
        fs::write(boss.path("alerts.yml"), rules).unwrap();
        fs::write(boss.path("prometheus.yml"), config).unwrap();
        let address = own_address().to_string();
        let log = fs::File::create(boss.path("prometheus.log")).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", boss.path("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", data.display())).arg(format!("--web.listen-address={address}"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap(), address)
    }

    fn ask(&self, path: &str) -> Option<Value> {
        let answer: Value = serde_json::from_str(&get_tcp(&self.1, path)?).unwrap();
        Some(answer["data"].clone())
    }

    /// The value of a query that gives one sample.
    fn value(&self, query: &str) -> Option<f64> {
        let data = self.ask(&format!(
            "/api/v1/query?query={}",
            query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22")
        ))?;
        data["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Names of rules that fire, with the labels of their alerts.
    fn firing(&self) -> Vec<(String, Value)> {
        let data = self.ask("/api/v1/alerts").unwrap_or_default();
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default().into_iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        firing
            .map(|alert| (alert["labels"]["alertname"].as_str().unwrap().to_owned(), alert["labels"].clone()))
            .collect()
    }
}

/// A Taskmaster that ran the plan to its end, and `box2`, which takes no role but has bridges.
fn at_the_end() -> Boss {
    let idle = if engine() { "[agent_host]\nroles = [\"nobody\"]\n" } else { PROCESSES };
    let mut boss = Boss::found(PROCESSES);
    boss.start("boss");
    boss.until_up();
    boss.join("box2", idle);
    boss.start("box2");
    boss.submit(TASKS);
    boss.until_status("good", "COMPLETED");
    boss.until_status("bad", "BLOCKED");
    until("box2 is there", || {
        boss.ask(&["host", "list"])["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|host| host["name"] == "box2" && host["up"] == true)
            .cloned()
    });
    boss
}

/// Does a container engine answer? Without one there are no bridges to count the ports of.
fn engine() -> bool {
    let answers = Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
    answers.is_ok_and(|status| status.success())
}

#[test]
fn prometheus_scrapes_a_node_and_the_shipped_rules_fire() {
    if !installed("the scrape of a real Prometheus", "prometheus") {
        return;
    }
    let mut boss = at_the_end();
    let prometheus = Prometheus::start(&boss);
    let is = |query: &str, wanted: f64| {
        until(&format!("{query} is {wanted}"), || prometheus.value(query).filter(|value| *value == wanted));
    };
    is("up{job=\"devstack\"}", 1.0);
    is("devstack_tasks{status=\"COMPLETED\"}", 1.0);
    is("devstack_attempt_seconds_count{stage=\"work\",outcome=\"failed\"}", 1.0);
    is("devstack_waiting_for_people{reason=\"attempts-exhausted\"}", 1.0);
    is("devstack_waiting_for_people{reason=\"human\"}", 1.0);
    is("devstack_host_up{host=\"box2\"}", 1.0);
    is("devstack_dispatch_seconds_count", 2.0);
    until("a person is asked for", || {
        prometheus.firing().iter().any(|(name, _)| name == "DevstackWaitsForPeople").then_some(())
    });
    assert!(!prometheus.firing().iter().any(|(name, _)| name == "DevstackHostDown"), "{:?}", prometheus.firing());
    boss.kill("box2");
    let down = || prometheus.firing().into_iter().find(|(name, _)| name == "DevstackHostDown");
    assert_eq!(until("the host that was killed is missed", down).1["host"], "box2");
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    if !installed("the checks of promtool", "promtool") {
        return;
    }
    let boss = at_the_end();
    let mut lint = Command::new("promtool");
    let mut lint = lint.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    lint.stdin.take().unwrap().write_all(get_unix(&boss.socket(), "/metrics").as_bytes()).unwrap();
    let said = lint.wait_with_output().unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    for args in [&["check", "rules", "alerts.yml"][..], &["test", "rules", "alerts_test.yml"]] {
        let said = Command::new("promtool").args(args).current_dir(&folder).output().unwrap();
        assert!(
            said.status.success(),
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

/// Names of metrics in a query or a rule.
fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new("\\b(devstack|process)_[a-z0-9_]+").unwrap();
    name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// Every query of a dashboard.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_rules_name_only_what_is_there() {
    let boss = at_the_end();
    // A request is counted when it was answered.
    get_unix(&boss.socket(), "/metrics");
    let there = named(&get_unix(&boss.socket(), "/metrics"));
    let dashboard: Value = serde_json::from_str(&shipped("grafana/devstack.json")).unwrap();
    let mut asked = Vec::new();
    queries(&dashboard, &mut asked);
    assert!(asked.len() > 30, "{} queries", asked.len());
    let rules = shipped("prometheus/alerts.yml");
    let rules =
        rules.lines().filter(|line| !line.trim_start().starts_with(['#', 'd', 's'])).collect::<Vec<_>>().join("\n");
    let wanted = asked.iter().flat_map(|query| named(query)).chain(named(&rules));
    let missing: BTreeSet<String> = wanted.filter(|name| !there.contains(name)).collect();
    if engine() {
        assert_eq!(missing, BTreeSet::new(), "{there:?}");
    } else {
        println!("SKIPPED: the ports of bridges in /metrics: no container engine answers");
        assert!(missing.iter().all(|name| name.starts_with("devstack_shard_ports")), "{missing:?}");
    }
    let ids: Vec<&Value> = dashboard["panels"].as_array().unwrap().iter().map(|panel| &panel["id"]).collect();
    assert_eq!(ids.len(), ids.iter().map(|id| id.to_string()).collect::<BTreeSet<_>>().len(), "two panels have one id");
}
