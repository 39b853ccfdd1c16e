//! The dashboard over a real socket: every page answers and escapes, headers keep pages from doing what they must not,
//! and forms act once, for those who may, when they were sent on purpose.

use axum::{
    body::Body,
    http::{HeaderMap, Request},
};
use devstack::members::Role;
use http_body_util::BodyExt;

use crate::{
    client::Api,
    remote::{RemoteApi, ask, request},
};

const HOSTILE: &str = "<script>alert(1)</script>\\\"'&";

/// One task of each sort that a page shows differently, all with names that are not to be trusted.
fn hostile() -> String {
    format!(
        "[[task]]\nid = \"done\"\ntitle = \"{HOSTILE}\"\nprompt = \"{HOSTILE}\"\n\
         [[task]]\nid = \"stuck\"\ntitle = \"{HOSTILE}\"\nrole = \"bad\"\n\
         [[task]]\nid = \"busy\"\ntitle = \"{HOSTILE}\"\nrole = \"slow\"\n\
         [[task]]\nid = \"mine\"\ntitle = \"{HOSTILE}\"\nexecutor = \"human\"\n\
         [[task]]\nid = \"clash\"\ntitle = \"{HOSTILE}\"\nexecutor = \"human\"\n\
         [[task]]\nid = \"later\"\ntitle = \"{HOSTILE}\"\ndependencies = [\"busy\"]\n"
    )
}

const PAGES: &[&str] = &[
    "/",
    "/board",
    "/board?project=shop",
    "/tasks",
    "/tasks?status=TODO&project=shop",
    "/tasks/shop/done",
    "/tasks/shop/busy",
    "/tasks/shop/stuck?attempt=1",
    "/tasks/shop/mine",
    "/tasks/shop/later",
    "/tasks?text=%3Cb%3E",
    "/tasks/shop/done/diff",
    "/tasks/shop/clash/conflict",
    "/tasks/shop/stuck/act/retry",
    "/tasks/shop/stuck/act/reject",
    "/tasks/shop/busy/act/stop",
    "/tasks/shop/mine/act/approve",
    "/projects/shop/act/pause",
    "/hosts/one/act/drain",
];

struct Page {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a hidden field.
    fn field(&self, name: &str) -> String {
        let (_, rest) = self.text.split_once(&format!("name=\"{name}\" value=\"")).expect("a field");
        rest.split_once('"').unwrap().0.to_owned()
    }
}

async fn fetch(api: &Api, request: Request<Body>) -> Page {
    let answer = api.send(request).await;
    let (parts, body) = answer.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Page { status: parts.status.as_u16(), headers: parts.headers, text }
}

async fn page(api: &Api, path: &str) -> Page {
    let request = Request::get(path).header("host", "node").header("accept", "text/html").body(Body::empty());
    fetch(api, request.unwrap()).await
}

/// What a browser sends when somebody presses the button of a form.
fn sent(path: &str, token: &str, key: &str, text: &str) -> Request<Body> {
    let request = Request::post(path)
        .header("host", "node")
        .header("accept", "text/html")
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "application/x-www-form-urlencoded");
    request.body(format!("token={token}&key={key}&text={text}").into()).unwrap()
}

async fn with_tasks() -> Api {
    let api = Api::start(2);
    assert_eq!(api.plan(&hostile()).await.status, 200);
    api
}

#[tokio::test]
async fn every_page_answers_whole_and_escapes_what_it_shows() {
    let api = with_tasks().await;
    for path in PAGES {
        let page = page(&api, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(page.text.starts_with("<!doctype html>") && page.text.contains("<h1"), "{path}");
        for wrong in ["<script>alert", "<i>x", "<b>\"", " style=", "\u{1b}"] {
            assert!(!page.text.contains(wrong), "{path} has {wrong}");
        }
        assert_eq!(page.header("cache-control"), "private, no-cache", "{path}");
        // Nothing that another host would be asked for.
        assert!(!page.text.replace("http://www.w3.org/2000/svg", "").contains("http://"), "{path}");
        assert!(!page.text.contains("https://"), "{path}");
    }
    let task = page(&api, "/tasks/shop/done").await;
    assert_eq!(task.text.matches("&#60;script&#62;alert(1)").count(), 4, "two titles, heading, prompt");
    let conflict = page(&api, "/tasks/shop/clash/conflict").await;
    for side in ["+ours", "+theirs", "--checkout DIR", "CONFLICT in &#60;i&#62;x"] {
        assert!(conflict.text.contains(side), "{side}");
    }
}

#[tokio::test]
async fn headers_keep_pages_from_doing_what_they_must_not() {
    let api = with_tasks().await;
    for path in ["/", "/tasks/shop/nobody", "/nowhere", "/v1/status"] {
        let page = page(&api, path).await;
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none';",
            "script-src 'self';",
            "style-src 'sha256-",
            "img-src 'self' data:;",
            "connect-src 'self';",
            "form-action 'self';",
            "frame-ancestors 'none';",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    }
}

#[tokio::test]
async fn the_module_is_kept_for_ever_and_only_under_its_own_name() {
    let api = Api::start(0);
    let home = page(&api, "/").await;
    let (_, rest) = home.text.split_once("src=\"").unwrap();
    let script = page(&api, rest.split_once('"').unwrap().0).await;
    assert_eq!((script.status, script.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert!(script.header("cache-control").contains("immutable"));
    assert_eq!(page(&api, "/assets/dashboard.js").await.status, 404);
}

#[tokio::test]
async fn errors_are_pages_for_those_who_read_pages() {
    let api = Api::start(0);
    let missing = page(&api, "/tasks/shop/nobody").await;
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("Page not found") && missing.text.contains("DS02"), "{}", missing.text);
    assert_eq!(page(&api, "/tasks?status=%3Cb%3E").await.status, 400);
    // Programs get the object.
    assert_eq!(api.get("/nowhere").await.error(), (404, "DS0302".to_owned()));
}

#[tokio::test]
async fn a_fragment_is_only_the_main_and_is_not_sent_twice() {
    let api = with_tasks().await;
    let fragment = |known: &str| {
        let request = Request::get("/board").header("devstack-fragment", "main").header("if-none-match", known);
        request.body(Body::empty()).unwrap()
    };
    let first = fetch(&api, fragment("\"\"")).await;
    assert!(first.text.starts_with("<main ") && first.text.contains("data-title=\"Board\""), "{}", first.text);
    assert_eq!(first.header("vary"), "devstack-fragment");
    let again = fetch(&api, fragment(first.header("etag"))).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
}

#[tokio::test]
async fn a_form_acts_once_and_leads_back() {
    let api = with_tasks().await;
    let path = "/tasks/shop/stuck/act/retry";
    let form = page(&api, path).await;
    let (token, key) = (form.field("token"), form.field("key"));
    for _ in 0..2 {
        let answer = fetch(&api, sent(path, &token, &key, "mind+the+gap")).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/tasks/shop/stuck?said=done"), "{}", answer.text);
    }
    let task = api.get("/v1/tasks/shop/stuck").await.json()["task"].clone();
    assert_eq!(task["attempts"], 2, "the second press started nothing");
    assert_eq!(task["feedback"].as_array().unwrap().iter().filter(|one| one["text"] == "mind the gap").count(), 1);
    let back = page(&api, "/tasks/shop/stuck?said=done").await;
    assert!(back.text.contains("role=\"status\">Done."), "it is said");
    // The same key for something else is refused.
    assert_eq!(fetch(&api, sent(path, &token, &key, "other")).await.status, 409);
}

#[tokio::test]
async fn a_form_that_nobody_sent_on_purpose_changes_nothing() {
    let api = with_tasks().await;
    let path = "/tasks/shop/stuck/act/reject";
    let form = page(&api, path).await;
    let (token, key) = (form.field("token"), form.field("key"));
    let mut foreign = sent(path, &token, &key, "");
    foreign.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(fetch(&api, foreign).await.status, 403);
    let mut silent = sent(path, &token, &key, "");
    silent.headers_mut().remove("sec-fetch-site");
    assert_eq!(fetch(&api, silent).await.status, 403);
    let other = page(&api, "/tasks/shop/busy/act/reject").await.field("token");
    for token in ["", "0", other.as_str()] {
        assert_eq!(fetch(&api, sent(path, token, &key, "")).await.status, 403, "{token}");
    }
    assert_eq!(fetch(&api, sent(path, &token, "short", "")).await.status, 400);
    let mut broken = sent(path, &token, &key, "");
    *broken.body_mut() = "key=%ZZ".into();
    assert_eq!(fetch(&api, broken).await.status, 400);
    assert_eq!(api.get("/v1/tasks/shop/stuck").await.json()["task"]["status"], "BLOCKED");
    // And that one was good all along.
    assert_eq!(fetch(&api, sent(path, &token, &key, "")).await.status, 303);
    assert_eq!(api.get("/v1/tasks/shop/stuck").await.json()["task"]["status"], "REJECTED");
}

#[tokio::test]
async fn what_would_be_refused_is_said_before_it_is_tried() {
    let api = with_tasks().await;
    let form = page(&api, "/tasks/shop/done/act/stop").await;
    assert!(form.text.contains("The node would refuse this now") && !form.text.contains("<form method=\"post\""));
    assert_eq!(page(&api, "/tasks/shop/done/act/explode").await.status, 404);
    assert_eq!(page(&api, "/tasks/shop/nobody/act/stop").await.status, 404);
}

#[tokio::test]
async fn a_log_follows_from_where_the_page_ends() {
    let api = with_tasks().await;
    let task = page(&api, "/tasks/shop/busy").await;
    assert!(task.text.contains("output of shop/busy/1"), "{}", task.text);
    let (_, rest) = task.text.split_once("data-from=\"").unwrap();
    let from: u64 = rest.split_once('"').unwrap().0.parse().unwrap();
    assert_eq!(from, "output of shop/busy/1\nfollow: false\n".len() as u64);
    let rest = page(&api, "/tasks/shop/busy/log?attempt=1&from=22").await;
    assert_eq!((rest.text.as_str(), rest.header("content-type")), ("follow: true\n", "text/plain; charset=utf-8"));
    assert_eq!(page(&api, "/tasks/shop/busy/log?attempt=9").await.status, 404);
}

#[tokio::test]
async fn ticks_come_when_something_has_changed() {
    let api = with_tasks().await;
    let (status, kind, mut body) = api.open(Request::get("/live").body(Body::empty()).unwrap()).await;
    assert_eq!((status.as_u16(), kind.as_str()), (200, "text/event-stream"));
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: tick\ndata: "), "{first:?}");
}

#[tokio::test]
async fn a_viewer_looks_and_does_nothing() {
    let api = RemoteApi::start().await;
    let people = api.people();
    let (viewer, operator) = (api.token(Role::Viewer).reveal(), api.token(Role::Operator).reveal());
    let plan = crate::client::plan(&hostile());
    assert_eq!(ask(&people, request("POST", "/v1/plans", Some(&operator), plan)).await.unwrap().status, 200);
    let get = async |path: &str, token: &str| ask(&people, request("GET", path, Some(token), "")).await.unwrap();
    for path in ["/", "/board", "/tasks/shop/stuck"] {
        let (seen, done) = (get(path, &viewer).await, get(path, &operator).await);
        assert_eq!((seen.status, done.status), (200, 200), "{path}");
        assert!(!seen.text().contains("/act/"), "{path}");
        assert!(path == "/board" || done.text().contains("/act/"), "{path}");
    }
    let path = "/tasks/shop/stuck/act/retry";
    assert_eq!(get(path, &viewer).await.status, 403);
    assert_eq!(ask(&people, request("POST", path, Some(&viewer), "")).await.unwrap().status, 403);
    // The token of a form is for one person.
    assert_eq!(get(path, &operator).await.status, 200);
}

#[tokio::test]
async fn a_browser_that_nobody_knows_is_led_to_the_login() {
    let api = RemoteApi::start().await;
    let people = api.people();
    let mut stranger = request("GET", "/tasks/shop/a?attempt=1", None, "");
    assert_eq!(ask(&people, request("GET", "/tasks/shop/a", None, "")).await.unwrap().status, 401, "a program");
    stranger.headers_mut().insert("accept", "text/html".parse().unwrap());
    assert_eq!(ask(&people, stranger).await.unwrap().status, 303);
}
