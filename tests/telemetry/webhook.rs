//! Notices of what waits for a person, posted to a real server that comes and goes.

use std::{collections::BTreeMap, fs};

use devstack::outgoing::signature;
use serde_json::Value;

use crate::{
    boss::{Boss, until},
    http::{Received, Sink},
    loopback::own_address,
};

const SECRET: &str = "kept-between-the-two-of-us";

fn boss(address: &str) -> Boss {
    let boss = Boss::found("");
    fs::write(boss.path("hook.secret"), SECRET).unwrap();
    let secret = boss.path("hook.secret");
    let more = format!(
        "[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\nslots = 2\n[webhook]\nurl = \"http://{address}/T0/path-secret\"\nsecret_file = {secret:?}\n"
    );
    let config = boss.path("boss.toml");
    fs::write(&config, format!("{}{more}", fs::read_to_string(&config).unwrap())).unwrap();
    boss
}

/// Tasks for a person, and their title in a plan.
fn human(ids: &[&str]) -> String {
    ids.iter().map(|id| format!("[[task]]\nid = \"{id}\"\nexecutor = \"human\"\nprompt = \"x\"\n")).collect()
}

fn task(request: &Received) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    body["task"].as_str().unwrap().to_owned()
}

fn tasks(sink: &Sink) -> Vec<String> {
    sink.received().iter().map(task).collect()
}

/// What the node made and did not deliver yet, by its file.
fn due(boss: &Boss) -> Vec<Value> {
    let kept: Value = serde_json::from_slice(&fs::read(boss.path("state/webhook.json")).unwrap()).unwrap();
    kept["due"].as_array().unwrap().clone()
}

#[test]
fn each_wait_is_told_once_whatever_ends_in_between() {
    let address = own_address().to_string();
    let sink = Sink::start(&address, 200);
    let mut boss = boss(&address);
    boss.start("boss");
    boss.until_up();
    boss.submit(&human(&["a"]));
    let first = until("a is told", || sink.received().first().cloned());
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(
        (&body["apiVersion"], &body["event"], &body["project"]),
        (&"v1".into(), &"waiting".into(), &"shop".into())
    );
    assert_eq!((&body["task"], &body["status"], &body["blocked_reason"]), (&"a".into(), &"TODO".into(), &Value::Null));
    assert_eq!(body["command"], "devstack task approve shop/a");
    assert!(
        body["seq"].as_u64().unwrap() > 0 && body["why"].is_string() && body["at"].as_str().unwrap().ends_with('Z')
    );
    let signed = format!("sha256={}", signature(SECRET.as_bytes(), &first.body));
    assert_eq!(first.headers["devstack-signature"], signed);

    // The receiver ends; what begins to wait meanwhile is tried again.
    drop(sink);
    boss.submit(&human(&["a", "b"]));
    until("b is tried", || boss.log("boss").contains("the receiver did not accept a notice").then_some(()));
    boss.kill("boss");
    // One that refuses is tried again, too; with the same key.
    let refusing = Sink::start(&address, 503);
    boss.start("boss");
    boss.until_up();
    let refused = until("b is tried after the restart", || refusing.received().first().cloned());
    assert_eq!(task(&refused), "b");
    drop(refusing);
    let sink = Sink::start(&address, 204);
    until("b is told", || (tasks(&sink) == ["b"]).then_some(()));
    // A node that ends before it wrote down what it told tells it again, with the same key: not before that is it
    // killed.
    until("it is written down", || due(&boss).is_empty().then_some(()));
    assert_eq!(sink.received()[0].headers["idempotency-key"], refused.headers["idempotency-key"]);

    // A third is told, and nothing that was told before: not after a restart, either.
    boss.kill("boss");
    boss.start("boss");
    boss.until_up();
    boss.submit(&human(&["a", "b", "c"]));
    until("c is told", || tasks(&sink).contains(&"c".to_owned()).then_some(()));
    assert_eq!(tasks(&sink), ["b", "c"]);
    let keys: BTreeMap<String, String> =
        sink.received().iter().map(|request| (request.headers["idempotency-key"].clone(), task(request))).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let log = boss.log("boss");
    assert!(!log.contains(SECRET) && !log.contains("path-secret"), "{log}");
    assert!(!log.contains("giving up a notice"), "{log}");
}

#[test]
fn a_webhook_that_cannot_work_is_said_at_the_start() {
    let mut boss = boss(&own_address().to_string());
    let config = boss.path("boss.toml");
    let text =
        fs::read_to_string(&config).unwrap().replace("url = \"http:", "ca_file = \"/none/ca.pem\"\nurl = \"https:");
    fs::write(&config, text).unwrap();
    boss.start("boss");
    until("it says why", || {
        boss.log("boss").contains("cannot read the certificate authorities in /none/ca.pem").then_some(())
    });
}
