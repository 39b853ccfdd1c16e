//! Logs, waiting, and facts as server-sent events.

use axum::{body::Body, http::Request};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::client::Api;

const ONE: &str = "[[task]]\nid = \"a\"\ntitle = \"a\"\n";

#[tokio::test]
async fn logs_are_streamed() {
    let api = Api::start(1);
    api.plan(ONE).await;
    let logs = api.get("/v1/tasks/shop/a/logs").await;
    assert_eq!((logs.status, logs.text().as_str()), (200, "output of shop/a/1\nfollow: false\n"));
    assert_eq!(api.get("/v1/tasks/shop/a/logs?follow&attempt=1").await.text(), "output of shop/a/1\nfollow: true\n");
    assert_eq!(api.get("/v1/tasks/shop/a/logs?attempt=9").await.error(), (404, "DS0309".into()));
    assert_eq!(api.get("/v1/tasks/shop/a/logs?follow=maybe").await.error(), (400, "DS0301".into()));
}

#[tokio::test]
async fn waiting_returns_when_all_is_completed() {
    let api = Api::start(1);
    api.plan("[[task]]\nid = \"a\"\nrole = \"slow\"\ntitle = \"a\"\n").await;
    let waiting = api.get("/v1/wait?project=shop");
    tokio::pin!(waiting);
    // It must still wait: nothing has ended yet.
    assert!(futures::poll!(&mut waiting).is_pending());
    let finish = async {
        api.fake.finish("shop/a", 0);
    };
    let (settled, ()) = tokio::join!(waiting, finish);
    assert_eq!(settled.json(), json!({"apiVersion": "v1", "completed": true, "tasks": 1, "waiting": []}));
}

#[tokio::test]
async fn waiting_returns_when_only_a_person_can_move_it() {
    let api = Api::start(1);
    api.plan("[[task]]\nid = \"a\"\nrole = \"bad\"\ntitle = \"a\"\n[[task]]\nid = \"b\"\ntitle = \"b\"\n").await;
    let settled = api.get("/v1/wait?project=shop&through_humans=false").await.json();
    assert_eq!((&settled["completed"], &settled["tasks"]), (&json!(false), &json!(2)));
    let waiting = &settled["waiting"][0];
    assert_eq!((&waiting["task"], &waiting["status"]), (&json!("shop/a"), &json!("BLOCKED")));
    assert!(waiting["command"].as_str().unwrap().starts_with("devstack task retry shop/a"), "{waiting}");
    let one = api.get("/v1/wait?project=shop&tasks=b").await.json();
    assert_eq!((&one["completed"], &one["tasks"]), (&json!(true), &json!(1)));
    assert_eq!(api.get("/v1/wait?project=shop&tasks=x").await.error(), (404, "DS0202".into()));
    assert_eq!(api.get("/v1/wait?project=none").await.error(), (404, "DS0201".into()));
    assert_eq!(api.get("/v1/wait").await.error(), (400, "DS0301".into()));
}

/// Reads events until there are `count`.
async fn events(api: &Api, path: &str, last_id: Option<&str>, count: usize) -> Vec<(u64, Value)> {
    let mut request = Request::get(path);
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    let (status, kind, body) = api.open(request.body(Body::empty()).unwrap()).await;
    assert_eq!((status.as_u16(), kind.as_str()), (200, "text/event-stream"));
    let mut chunks = body.into_data_stream();
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        text.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
    }
    let event = |event: &str| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        (field("id:").parse().unwrap(), serde_json::from_str(&field("data:")).unwrap())
    };
    text.split_terminator("\n\n").take(count).map(event).collect()
}

#[tokio::test]
async fn facts_are_numbered_and_resumed_after_the_last_one_seen() {
    let api = Api::start(1);
    api.plan(ONE).await;
    let all = events(&api, "/v1/facts?after=0", None, 5).await;
    let numbers: Vec<u64> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    for (id, fact) in &all {
        assert_eq!(fact["seq"], *id);
        for key in ["at", "kind", "project", "task", "attempt", "status", "message"] {
            assert!(fact.as_object().unwrap().contains_key(key), "{key}");
        }
    }
    assert_eq!(all[0].1["kind"], "host-reported");
    let resumed = events(&api, "/v1/facts", Some("3"), 2).await;
    assert_eq!(resumed, all[3..]);
    // The header is what the reader really has: it wins over the address.
    assert_eq!(events(&api, "/v1/facts?after=0", Some("4"), 1).await, all[4..]);
}

#[tokio::test]
async fn facts_behind_the_horizon_are_gone() {
    let api = Api::start(1);
    api.plan(ONE).await;
    api.fake.prune();
    assert_eq!(api.get("/v1/facts?after=1").await.error(), (410, "DS0305".into()));
    assert_eq!(api.get("/v1/facts?after=x").await.error(), (400, "DS0301".into()));
}
