//! Hosts: shown with all that is known, drained, used again, and removed together with their membership.

use devstack::members::Role;
use devstack_dag::{
    command::{Command, HostReport, Quarantine},
    ids::HostName,
};
use serde_json::{Value, json};

use crate::{
    client::Api,
    fake::Fake,
    remote::{RemoteApi, ask, get, request},
};

const SLOW: &str = "[[task]]\nid = \"a\"\nrole = \"slow\"\ntitle = \"a\"\n";

fn name(text: &str) -> HostName {
    HostName::new(text).unwrap()
}

fn report(fake: &Fake, host: &str) {
    let quarantine = Some(Quarantine { slots: 1, why: "the engine is gone".into() });
    fake.tell(Command::ReportHost(HostReport { quarantine, ..HostReport::new(name(host), 3) }));
}

#[tokio::test]
async fn a_host_is_shown_with_all_that_is_known_and_null_for_the_rest() {
    let api = Api::start(2);
    report(&api.fake, "two");
    api.plan(SLOW).await;
    let hosts = api.get("/v1/hosts").await.json()["hosts"].clone();
    let since = hosts[0]["since"].clone();
    assert!(since.as_str().unwrap().starts_with("2026-01-01T00:00:00"), "{since}");
    let one = json!({
        "name": "one", "up": true, "presence": "present", "since": since, "drain": null, "slots": 2, "used": 1, "free": 1,
        "claimed": 2, "pins": null, "cut": [], "owes": [],
        "quarantine": null, "secrets": ["KEY"], "runtime": "process", "sandbox": "unsandboxed", "version": "0.1.0",
        "labels": {"gpu": "a100"}, "roles": [], "images": 3, "cut_off": null, "shards": [
            {"name": "a", "subnet": "10.9.0.0/24", "ports": 1, "capacity": 200},
            {"name": "odd\"\\name", "subnet": null, "ports": 2, "capacity": 200},
        ],
    });
    assert_eq!(hosts[0], one);
    let two = &hosts[1];
    assert_eq!((&two["free"], &two["quarantine"]["why"]), (&json!(2), &json!("the engine is gone")));
    let offered = (&two["labels"], &two["roles"], &two["images"], &two["shards"]);
    assert_eq!(offered, (&json!({}), &json!([]), &json!(0), &json!([])));
    for unknown in ["drain", "runtime", "sandbox", "version"] {
        assert_eq!(two.as_object().unwrap().get(unknown), Some(&Value::Null), "{unknown} in {two}");
    }
    let page = api.get("/v1/hosts/one").await.json();
    assert_eq!((&page["apiVersion"], &page["host"]["slots"]), (&json!("v1"), &json!(2)));
    let attempt = &page["host"]["attempt_list"][0];
    assert_eq!((&attempt["task"], &attempt["number"]), (&json!("shop/a"), &json!(1)));
    assert_eq!((&attempt["agent"], &attempt["unknown"]), (&json!("slow1"), &json!(false)));
    assert_eq!(api.get("/v1/hosts/two").await.json()["host"]["attempt_list"], json!([]));
    assert_eq!(api.get("/v1/hosts/three").await.error(), (404, "DS0221".into()));
    assert_eq!(api.get("/v1/hosts/a@b").await.error(), (400, "DS0301".into()));
}

#[tokio::test]
async fn attempts_of_a_silent_host_are_unknown_until_it_reports() {
    let api = Api::start(2);
    report(&api.fake, "two");
    api.plan(SLOW).await;
    let unknown = async || {
        let task = api.get("/v1/tasks/shop/a").await.json()["task"].clone();
        let listed = api.get("/v1/tasks").await.json()["tasks"][0]["unknown"].clone();
        let host = api.get("/v1/hosts/one").await.json()["host"].clone();
        assert_eq!((&listed, &listed), (&task["attempt_list"][0]["unknown"], &host["attempt_list"][0]["unknown"]));
        (task["unknown"].clone(), host["presence"].clone())
    };
    assert_eq!(unknown().await, (json!(false), json!("present")));
    api.fake.tell(Command::SuspectHost(name("one")));
    assert_eq!(unknown().await, (json!(true), json!("suspect")));
    let status = api.get("/v1/status").await.json();
    assert_eq!(status["hosts_by_presence"], json!({"awaited": 0, "present": 1, "suspect": 1, "lost": 0}));
    assert_eq!((&status["running"], &status["unknown"]), (&json!(1), &json!(1)));
    let metrics = api.get("/metrics").await.text();
    for line in [
        "devstack_attempts_unknown 1",
        "devstack_host_heartbeat_age_seconds{host=\"two\"} 1.5",
        "devstack_shard_ports_max{host=\"one\",shard=\"a\"} 200",
        "devstack_waiting_for_people{reason=\"human\"} 0",
        "devstack_host_up{host=\"one\"} 0",
        "devstack_host_up{host=\"two\"} 1",
        "devstack_host_slots{host=\"one\",state=\"used\"} 1",
        "devstack_host_slots{host=\"one\",state=\"unusable\"} 1",
        "devstack_host_slots{host=\"two\",state=\"free\"} 2",
        "devstack_host_slots{host=\"two\",state=\"unusable\"} 1",
        "devstack_shard_ports{host=\"one\",shard=\"a\"} 1",
        "devstack_shard_ports{host=\"one\",shard=\"odd\\\"\\\\name\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    api.fake.tell(Command::ReportHost(HostReport::new(name("one"), 2)));
    assert_eq!(unknown().await, (json!(false), json!("present")));
}

#[tokio::test]
async fn a_host_is_drained_and_used_again() {
    let api = Api::start(2);
    api.plan(SLOW).await;
    let drained = api.post("/v1/hosts/one/drain", "").await.json();
    assert_eq!(drained["changed"], true);
    assert_eq!(drained["message"], "one gets no new attempts; running attempts finish");
    assert_eq!(api.post("/v1/hosts/one/drain", r#"{"deadline":null}"#).await.json()["changed"], false);
    let limited = api.post("/v1/hosts/one/drain", r#"{"deadline":"10m"}"#).await.json();
    assert_eq!(limited["changed"], true);
    assert!(limited["message"].as_str().unwrap().contains("in 10m are stopped and not charged"), "{limited}");
    let host = api.get("/v1/hosts/one").await.json()["host"].clone();
    assert_eq!((&host["free"], &host["used"], &host["presence"]), (&json!(0), &json!(1), &json!("present")));
    let minutes = |text: &Value| text.as_str().unwrap().split(':').nth(1).unwrap().parse::<u32>().unwrap();
    assert_eq!(minutes(&host["drain"]["until"]) - minutes(&host["drain"]["since"]), 10);
    assert_eq!(api.post("/v1/hosts/one/undrain", "").await.json()["message"], "one gets attempts again");
    assert_eq!(api.post("/v1/hosts/one/undrain", "").await.json()["changed"], false);
    assert_eq!(api.get("/v1/hosts/one").await.json()["host"]["drain"], Value::Null);
    for wrong in [r#"{"deadline":"soon"}"#, r#"{"deadline":"366d"}"#, r#"{"deadline":5}"#, r#"{"dead":"5m"}"#] {
        assert_eq!(api.post("/v1/hosts/one/drain", wrong).await.error(), (400, "DS0301".into()), "{wrong}");
    }
    for what in ["drain", "undrain", "remove"] {
        assert_eq!(api.post(&format!("/v1/hosts/none/{what}"), "").await.error(), (404, "DS0221".into()), "{what}");
    }
}

#[tokio::test]
async fn a_host_is_held_to_what_people_say() {
    let api = Api::start(2);
    let said = api.post("/v1/hosts/one", r#"{"max_slots": 1, "labels": {}, "projects": ["other"]}"#).await.json();
    assert_eq!(said["changed"], true, "{said}");
    assert_eq!(
        api.post("/v1/hosts/one", r#"{"max_slots": 1}"#).await.json()["changed"],
        false,
        "it is held to that already"
    );
    let host = api.get("/v1/hosts/one").await.json()["host"].clone();
    assert_eq!((&host["slots"], &host["claimed"], &host["free"]), (&json!(1), &json!(2), &json!(1)));
    assert_eq!(
        host["pins"],
        json!({"max_slots": 1, "labels": {}, "roles": [], "projects": ["other"], "secrets": ["KEY"]})
    );
    assert_eq!(host["cut"], json!(["1 slots of 2"]), "{host}");
    for wrong in ["{}", r#"{"slots": 1}"#, r#"{"roles": ["a b"]}"#, r#"{"max_slots": -1}"#] {
        assert_eq!(api.post("/v1/hosts/one", wrong).await.error(), (400, "DS0301".into()), "{wrong}");
    }
    let many: Vec<String> = (0..500).map(|n| format!("{n:0>100}")).collect();
    assert_eq!(api.post("/v1/hosts/one", json!({ "secrets": many }).to_string()).await.error(), (400, "DS0301".into()));
    assert_eq!(api.post("/v1/hosts/none", r#"{"max_slots": 1}"#).await.error(), (404, "DS0221".into()));
}

#[tokio::test]
async fn a_host_in_use_is_removed_by_force_only() {
    let api = Api::start(2);
    api.plan(SLOW).await;
    let refused = api.post("/v1/hosts/one/remove", "{}").await;
    assert_eq!(refused.error(), (409, "DS0222".into()));
    assert!(
        refused.json()["error"]["hint"].as_str().unwrap().contains("devstack host drain one"),
        "{}",
        refused.text()
    );
    let removed = api.post_with_key("/v1/hosts/one/remove", "k1", r#"{"force":true}"#).await.json();
    assert_eq!((&removed["changed"], &removed["message"]), (&json!(true), &json!("one removed")));
    assert_eq!(api.post_with_key("/v1/hosts/one/remove", "k1", r#"{"force":true}"#).await.json(), removed);
    assert_eq!(api.post("/v1/hosts/one/remove", r#"{"force":true}"#).await.error(), (404, "DS0221".into()));
    assert_eq!(api.get("/v1/hosts").await.json()["hosts"], json!([]));
    assert_eq!(api.get("/v1/tasks/shop/a").await.json()["task"]["attempt_list"][0]["outcome"], "infrastructure");
}

#[tokio::test]
async fn a_removed_host_is_no_member_any_more() {
    let api = RemoteApi::start().await;
    let (people, token) = (api.people(), api.token(Role::Admin).reveal());
    let post =
        async |path: &str, body: &'static str| ask(&people, request("POST", path, Some(&token), body)).await.unwrap();
    let (_, node) = api.member("node-1");
    api.member("node-2");
    report(&api.fake, "node-1");
    let renewed = async || ask(&node, request("POST", "/v1/renew", None, "{}")).await.unwrap().status;
    assert_ne!(renewed().await, 403);

    // What is refused leaves the membership as it was.
    assert_eq!(post("/v1/hosts/node-1/remove", "{}").await.error(), (409, "DS0222".into()));
    assert_ne!(renewed().await, 403);
    post("/v1/hosts/node-1/drain", "{}").await;
    let removed = post("/v1/hosts/node-1/remove", "{}").await.json();
    assert_eq!(removed["message"], "node-1 removed; its machine can join again with a new token");
    assert_eq!(renewed().await, 403);
    assert_eq!(get(&people, "/v1/hosts/node-1", Some(&token)).await.unwrap().status, 404);

    // Again, and one that joined and never came.
    assert_eq!(post("/v1/hosts/node-1/remove", "{}").await.json()["changed"], false);
    assert_eq!(post("/v1/hosts/node-2/remove", "{}").await.json()["changed"], true);
    assert_eq!(post("/v1/hosts/node-2/remove", "{}").await.json()["changed"], false);
    let members = get(&people, "/v1/cluster", Some(&token)).await.unwrap().json()["members"].clone();
    let live = members.as_array().unwrap().iter().filter(|member| member["removed_at"].is_null());
    assert_eq!(live.map(|member| &member["name"]).collect::<Vec<_>>(), ["master"]);

    assert_eq!(post("/v1/hosts/nobody/remove", "{}").await.error(), (404, "DS0221".into()));
    let own = post("/v1/hosts/master/remove", "{}").await;
    assert_eq!(own.error(), (409, "DS0313".into()));
    assert!(own.json()["error"]["hint"].as_str().unwrap().contains("devstack host drain master"), "{}", own.text());
}
