//! Who asks too much is told when to come again, and nobody else notices.

use axum::{body::Body, http::Request};
use devstack::config::node::Limits;

use crate::client::Api;

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_again() {
    let api = Api::with(0, Limits { requests: 1, ..Limits::default() });
    let mut refused = None;
    for _ in 0..50 {
        let answer = api.get("/v1/status").await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a burst is ten");
    assert_eq!(refused.error(), (429, "DS0319".to_owned()));
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
}

#[tokio::test]
async fn changes_have_a_limit_of_their_own() {
    let api = Api::with(0, Limits { changes: 1, ..Limits::default() });
    api.plan("[[task]]\nid = \"a\"\ntitle = \"a\"\n").await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(api.post("/v1/projects/shop/pause", "{}").await.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(api.get("/v1/status").await.status, 200, "looking goes on");
    let log = api.get("/v1/audit?refused=true").await.json();
    let line = &log["changes"][0];
    assert_eq!((line["status"].as_u64(), line["code"].as_str()), (Some(429), Some("DS0319")));
}

#[tokio::test]
async fn streams_are_counted_while_they_are_open() {
    let api = Api::with(0, Limits { streams: 2, ..Limits::default() });
    let follow = || Request::get("/v1/facts").body(Body::empty()).unwrap();
    let (first, second) = (api.open(follow()).await, api.open(follow()).await);
    assert_eq!((first.0.as_u16(), second.0.as_u16()), (200, 200));
    let third = api.get("/v1/facts").await;
    assert_eq!((third.error(), third.retry_after.as_deref()), ((429, "DS0319".to_owned()), Some("1")));
    assert_eq!(api.get("/v1/tasks").await.status, 200, "what is no stream is not counted");
    drop(first);
    // The server notices that the reader is gone when it looks.
    while api.open(follow()).await.0 == 429 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let api = Api::start(0);
    let long = "x".repeat(300 << 10);
    let huge = api.ask(Request::get("/v1/status").header("x-long", &long).body(Body::empty()).unwrap()).await;
    assert_eq!(huge.status, 431);
    let mut many = Request::get("/v1/status");
    for number in 0..150 {
        many = many.header(format!("x-{number}"), "1");
    }
    assert_eq!(api.ask(many.body(Body::empty()).unwrap()).await.status, 431);
    assert_eq!(api.get("/v1/status").await.status, 200);
}
