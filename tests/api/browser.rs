//! A browser on TCP: how it gets in, what its cookie is good for, and how that ends.

use axum::{
    body::Body,
    http::{Request, Response, header},
};
use devstack::{
    gateway::{Access, ROUTES, https::Https},
    members::{Bearer, Role},
};

use crate::{
    access::path,
    remote::{RemoteApi, get},
};

/// A browser with one cookie, which says of itself what browsers say.
struct Browser {
    https: Https,
    origin: String,
    cookie: Option<String>,
}

impl Browser {
    fn new(api: &RemoteApi) -> Self {
        Self { https: api.people(), origin: format!("https://{}", api.address), cookie: None }
    }

    /// One that logged in.
    async fn of(api: &RemoteApi, token: &Bearer) -> Self {
        let mut browser = Self::new(api);
        let answer = browser.log_in(&token.reveal()).await;
        assert_eq!(answer.status(), 303);
        browser
    }

    async fn send(&self, method: &str, path: &str, said: &[(&str, &str)], body: &str) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header("accept", "text/html,*/*");
        for (name, value) in said {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        self.https.send(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
    }

    async fn look(&self, path: &str) -> Response<Body> {
        self.send("GET", path, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], "").await
    }

    /// A form of a page of ours.
    async fn form(&self, path: &str, body: &str) -> Response<Body> {
        self.send("POST", path, &[("sec-fetch-site", "same-origin"), ("origin", &self.origin)], body).await
    }

    /// Keeps the cookie, as browsers do.
    async fn log_in(&mut self, token: &str) -> Response<Body> {
        let answer = self.form("/login", &format!("token={token}&then=%2Fboard")).await;
        let set = answer.headers().get(header::SET_COOKIE).map(|set| set.to_str().unwrap().to_owned());
        self.cookie = set.map(|set| set.split(';').next().unwrap().to_owned());
        answer
    }
}

fn location(answer: &Response<Body>) -> &str {
    answer.headers()[header::LOCATION].to_str().unwrap()
}

#[tokio::test]
async fn a_token_is_exchanged_for_a_cookie() {
    let api = RemoteApi::start().await;
    let mut browser = Browser::new(&api);
    // A stranger is led to the door, and back to where it wanted to go.
    let stranger = browser.look("/?a=b").await;
    assert_eq!((stranger.status().as_u16(), location(&stranger)), (303, "/login?then=/%3Fa%3Db"));
    let door = browser.look("/login?then=/%3Fa%3Db").await;
    assert_eq!(door.status(), 200);
    assert!(door.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));

    let answer = browser.log_in(&api.token(Role::Viewer).reveal()).await;
    assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/board"));
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("__Host-devstack="), "{set}");
    assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{set}");
    assert_eq!(browser.look("/").await.status(), 200);
    assert_eq!(browser.look("/v1/tasks").await.status(), 200);
}

#[tokio::test]
async fn what_is_no_persons_token_gets_no_cookie() {
    let api = RemoteApi::start().await;
    let mut browser = Browser::new(&api);
    let joining = api.token(Role::AgentHost).reveal();
    for token in ["", "hello", "dst1.0000000000000000.00000000000000000000000000000000", &joining] {
        assert_eq!(browser.log_in(token).await.status(), 401, "{token}");
        assert_eq!(browser.cookie, None);
    }
    let viewer = api.token(Role::Viewer).reveal();
    // Another site, or nobody that says so, logs no browser in.
    for said in [&[("origin", "https://evil.example")][..], &[("sec-fetch-site", "cross-site")], &[]] {
        let answer = browser.send("POST", "/login", said, &format!("token={viewer}")).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get(header::SET_COOKIE)), (400, None), "{said:?}");
    }
    let evil = browser.form("/login", &format!("token={viewer}&then=%2F%2Fevil.example")).await;
    assert_eq!(location(&evil), "/");
}

/// The heart of it: whatever an admin's cookie reaches, it changes nothing by itself.
#[tokio::test]
async fn a_cookie_reads_what_its_token_may_read_and_changes_nothing_alone() {
    let api = RemoteApi::start().await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let browser = Browser::of(&api, &api.token(role)).await;
        for route in ROUTES {
            let (method, path) = (route.method.to_uppercase(), path(route));
            let status = async |said: &[(&str, &str)]| browser.send(&method, &path, said, "").await.status().as_u16();
            if route.least == Access::Node {
                assert_eq!(status(&[]).await, 401, "{route:?}");
                continue;
            }
            if route.least == Access::Anyone {
                continue;
            }
            let enough = match route.least {
                Access::Operator => role != Role::Viewer,
                Access::Admin => role == Role::Admin,
                _ => true,
            };
            let evil = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
            assert_eq!(status(&evil).await, 403, "{route:?} from another site");
            if method == "GET" {
                let got = status(&[]).await;
                assert_eq!(got == 403, !enough, "{route:?} for {role}: {got}");
                assert_ne!(got, 401, "{route:?}");
                continue;
            }
            assert_eq!(status(&[]).await, 403, "{route:?}: a cookie alone is no proof");
            let neighbour = [("origin", "https://127.0.0.1:1"), ("sec-fetch-site", "same-site")];
            assert_eq!(status(&neighbour).await, 403, "{route:?} from another port");
            if path.starts_with("/v1/") {
                let proof = [("origin", browser.origin.as_str()), ("sec-fetch-site", "same-origin")];
                assert_eq!(status(&proof).await, 403, "{route:?} is for programs");
            }
        }
    }
    assert!(ROUTES.iter().any(|route| route.method == "post" && !route.path.starts_with("/v1/")));
}

#[tokio::test]
async fn revoking_the_token_ends_its_sessions_at_once_and_no_others() {
    let api = RemoteApi::start().await;
    let (token, other) = (api.token(Role::Operator), api.token(Role::Viewer));
    let browsers = [Browser::of(&api, &token).await, Browser::of(&api, &token).await];
    let stays = Browser::of(&api, &other).await;
    api.members.revoke_token(&token.id.to_string(), crate::remote::seconds()).unwrap();
    for browser in &browsers {
        let page = browser.look("/").await;
        assert_eq!((page.status().as_u16(), location(&page)), (303, "/login?then=/"));
        assert_eq!(browser.look("/v1/tasks").await.status(), 401);
    }
    assert_eq!(stays.look("/").await.status(), 200);
}

#[tokio::test]
async fn logging_out_ends_one_session() {
    let api = RemoteApi::start().await;
    let token = api.token(Role::Viewer);
    let (browser, other) = (Browser::of(&api, &token).await, Browser::of(&api, &token).await);
    assert_eq!(browser.send("POST", "/logout", &[], "").await.status(), 403, "another site logs nobody out");
    let out = browser.form("/logout", "").await;
    assert_eq!((out.status().as_u16(), location(&out)), (303, "/login"));
    assert!(out.headers()[header::SET_COOKIE].to_str().unwrap().starts_with("__Host-devstack=;"));
    assert_eq!(browser.look("/v1/tasks").await.status(), 401, "the cookie is worth nothing, if it is kept");
    assert_eq!(other.look("/v1/tasks").await.status(), 200);
}

#[tokio::test]
async fn a_token_has_so_many_sessions_and_no_more() {
    let api = RemoteApi::start().await;
    let token = api.token(Role::Viewer);
    let first = Browser::of(&api, &token).await;
    let most = devstack::config::node::Limits::default().sessions;
    for _ in 0..most {
        Browser::of(&api, &token).await;
    }
    assert_eq!(first.look("/v1/tasks").await.status(), 401);
}

#[tokio::test]
async fn a_program_needs_no_cookie_and_a_forged_one_helps_nobody() {
    let api = RemoteApi::start().await;
    let mut browser = Browser::new(&api);
    browser.cookie = Some(format!("__Host-devstack={}", "0".repeat(64)));
    assert_eq!(browser.look("/v1/tasks").await.status(), 401);
    let admin = api.token(Role::Admin).reveal();
    assert_eq!(get(&browser.https, "/v1/tasks", Some(&admin)).await.unwrap().status, 200);
    // What a program says goes before the cookie.
    let bearer = format!("Bearer {admin}");
    assert_eq!(browser.send("POST", "/v1/tasks/shop/a/stop", &[("authorization", &bearer)], "").await.status(), 404);
}
