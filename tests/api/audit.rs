//! The log of changes: who asked for what, done or refused; never a secret.

use std::fs;

use axum::body::Body;
use devstack::members::Role;
use serde_json::{Value, json};

use crate::{
    client::Api,
    remote::{RemoteApi, ask, get, request},
};

/// All that is written, as text.
fn written(dir: &std::path::Path) -> String {
    let files = fs::read_dir(dir.join("audit")).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

fn told<'a>(changes: &'a Value, fields: &[&str]) -> Vec<Vec<&'a Value>> {
    let all = changes["changes"].as_array().unwrap();
    all.iter().map(|change| fields.iter().map(|field| &change[*field]).collect()).collect()
}

#[tokio::test]
async fn who_asked_for_what_is_written_whether_it_was_done_or_refused() {
    let api = RemoteApi::start().await;
    let people = api.people();
    let [viewer, operator, admin] = [Role::Viewer, Role::Operator, Role::Admin].map(|role| api.token(role).reveal());
    let forged = "dst1.0000000000000000.00000000000000000000000000000000";
    let post = async |path: &str, token: Option<&str>, body: &str| {
        ask(&people, request("POST", path, token, Body::from(body.to_owned()))).await.unwrap().status
    };
    assert_eq!(post("/v1/projects/shop/pause", None, "{}").await, 401);
    assert_eq!(post("/v1/projects/shop/pause", Some(forged), "{}").await, 401);
    assert_eq!(post("/v1/projects/shop/pause", Some(&viewer), "{}").await, 403);
    let plan = "[project]\nname = \"shop\"\n[agents.dev]\ncommand = [\"a-secret-in-a-body\"]\n[[task]]\nid = \"a\"\ntitle = \"a\"\n";
    assert_eq!(post("/v1/plans", Some(&operator), plan).await, 200);
    assert_eq!(post("/v1/projects/none/pause", Some(&operator), "{}").await, 404);
    // A mistake that is made: the token itself where its name should stand.
    assert_eq!(post(&format!("/v1/tokens/{viewer}/revoke"), Some(&admin), "").await, 404);
    assert_eq!(get(&people, "/v1/tasks", Some(&viewer)).await.unwrap().status, 200);

    assert_eq!(get(&people, "/v1/audit", Some(&operator)).await.unwrap().status, 403);
    let changes = get(&people, "/v1/audit", Some(&admin)).await.unwrap().json();
    let (operator_name, viewer_name, admin_name) = ("operator", "viewer", "admin");
    let seen = told(&changes, &["status", "role", "via", "route", "code"]);
    let row = |status: u16, role: Option<&str>, via: &str, route: &str, code: Option<&str>| {
        vec![json!(status), json!(role), json!(via), json!(route), json!(code)]
    };
    let pause = "/v1/projects/{project}/pause";
    let wanted = [
        row(404, Some(admin_name), "token", "/v1/tokens/{id}/revoke", Some("DS0309")),
        row(404, Some(operator_name), "token", pause, Some("DS0201")),
        row(200, Some(operator_name), "token", "/v1/plans", None),
        row(403, Some(viewer_name), "token", pause, Some("DS0313")),
        row(401, None, "stranger", pause, Some("DS0312")),
        row(401, None, "stranger", pause, Some("DS0312")),
    ];
    let wanted: Vec<Vec<&Value>> = wanted.iter().map(|row| row.iter().collect()).collect();
    assert_eq!(seen, wanted, "reads leave no line");
    for change in changes["changes"].as_array().unwrap() {
        assert_eq!(change["address"], "127.0.0.1");
        assert_eq!(change["who"].is_string(), change["via"] == "token", "{change}");
        assert!(change["at"].as_str().unwrap().ends_with('Z') && change["request"].as_str().unwrap().len() == 16);
    }
    let text = written(api.dir.path());
    for secret in [&viewer, &operator, &admin, forged, "a-secret-in-a-body"] {
        assert!(!text.contains(secret.rsplit('.').next().unwrap()), "{secret} is in\n{text}");
    }
    assert!(text.contains("/v1/tokens/[token]/revoke"));

    let refused = get(&people, "/v1/audit?refused=true&limit=2", Some(&admin)).await.unwrap().json();
    assert_eq!(told(&refused, &["status"]), [[&json!(404)], [&json!(404)]]);
    let next = refused["next"].as_str().unwrap();
    let rest = get(&people, &format!("/v1/audit?refused=true&after={next}"), Some(&admin)).await.unwrap().json();
    assert_eq!(told(&rest, &["status"]), [[&json!(403)], [&json!(401)], [&json!(401)]]);
    assert_eq!(get(&people, "/v1/audit?limit=0", Some(&admin)).await.unwrap().error().0, 400);
}

#[tokio::test]
async fn at_the_socket_the_user_is_known_and_the_answer_names_its_line() {
    let api = Api::start(0);
    let answer = api.plan("[[task]]\nid = \"a\"\ntitle = \"a\"\n").await;
    assert_eq!(answer.status, 200);
    let changes = api.get("/v1/audit").await.json();
    let uid = json!(nix::unistd::getuid().as_raw());
    assert_eq!(told(&changes, &["via", "uid", "who", "status"]), [[&json!("socket"), &uid, &Value::Null, &json!(200)]]);
    assert_eq!(changes["changes"][0]["request"].as_str(), answer.request.as_deref());
}

#[tokio::test]
async fn nothing_is_changed_while_lines_cannot_be_written() {
    let api = Api::start(0);
    // In the way of the log: as good as a full disk.
    fs::write(api.dir.path().join("audit"), "").unwrap();
    // The first change finds out, too late to be refused.
    assert_eq!(api.plan("[[task]]\nid = \"a\"\ntitle = \"a\"\n").await.status, 200);
    let refused = api.post("/v1/tasks/shop/a/reject", "{}").await;
    assert_eq!(refused.error(), (503, "DS0320".to_owned()));
    let task = api.get("/v1/tasks/shop/a").await.json();
    assert_eq!(task["task"]["status"], "TODO", "it was not carried out, and reading goes on");
    fs::remove_file(api.dir.path().join("audit")).unwrap();
    while api.post("/v1/tasks/shop/a/reject", "{}").await.status == 503 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let changes = api.get("/v1/audit").await.json();
    assert_eq!(told(&changes, &["target"]), [[&json!("/v1/tasks/shop/a/reject")], [&json!("/v1/plans")]]);
}
