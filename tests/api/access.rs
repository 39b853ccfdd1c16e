//! Who may ask what: every route of the table, asked by everyone.

use axum::body::Body;
use devstack::{
    gateway::{Access, ROUTES, Route},
    members::Role,
};

use crate::{
    client::Api,
    remote::{RemoteApi, ask, get, request},
};

pub fn path(route: &Route) -> String {
    route.path.replace("{project}", "shop").replace("{id}", "a").replace("{host}", "node-9").replace("{action}", "stop")
}

#[tokio::test]
async fn every_route_asks_for_what_the_table_says() {
    let api = RemoteApi::start().await;
    let (people, (_, node)) = (api.people(), api.member("node-1"));
    let tokens = [Role::Viewer, Role::Operator, Role::Admin].map(|role| (role, api.token(role).reveal()));
    for route in ROUTES {
        let status = async |https, token: Option<&str>| {
            let request = request(&route.method.to_uppercase(), &path(route), token, Body::empty());
            // Some stream for ever: the head is enough.
            api_status(https, request).await
        };
        let stranger = status(&people, None).await;
        let forged = status(&people, Some("dst1.0000000000000000.00000000000000000000000000000000")).await;
        let as_node = status(&node, None).await;
        match route.least {
            Access::Anyone => {
                let there = stranger != 404 || route.path.contains("{file}");
                assert!(there && ![401, 403, 405].contains(&stranger), "{route:?}: {stranger}");
                assert_eq!(forged, stranger, "{route:?}");
            }
            Access::Node => {
                assert_eq!((stranger, forged), (401, 401), "{route:?}");
                assert!(![401, 403, 405].contains(&as_node), "{route:?}: {as_node}");
            }
            _ => assert_eq!((stranger, forged, as_node), (401, 401, 403), "{route:?}"),
        }
        for (role, token) in &tokens {
            let enough = match route.least {
                Access::Anyone | Access::Viewer => true,
                Access::Operator => *role != Role::Viewer,
                Access::Admin => *role == Role::Admin,
                Access::Node => false,
            };
            let got = status(&people, Some(token)).await;
            let refused = if route.least == Access::Node { 401 } else { 403 };
            assert_eq!(got == refused, !enough, "{route:?} for {role}: {got}");
            assert_ne!(got, 405, "{route:?}");
        }
    }
}

async fn api_status(https: &devstack::gateway::https::Https, request: axum::http::Request<Body>) -> u16 {
    https.send(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let api = RemoteApi::start().await;
    let people = api.people();
    let viewer = api.token(Role::Viewer).reveal();
    let joining = api.token(Role::AgentHost).reveal();
    for (token, path, error) in [
        (None, "/v1/tasks", (401, "DS0312")),
        (Some("hello"), "/v1/tasks", (401, "DS0312")),
        (Some(joining.as_str()), "/v1/tasks", (401, "DS0312")),
        (Some(viewer.as_str()), "/v1/tokens", (403, "DS0313")),
        // Which paths there are, strangers are not told.
        (None, "/v1/nothing", (401, "DS0312")),
        (Some(viewer.as_str()), "/v1/nothing", (404, "DS0302")),
    ] {
        let answer = get(&people, path, token).await.unwrap();
        assert_eq!(answer.error(), (error.0, error.1.to_owned()), "{path}");
        assert!(answer.json()["error"]["hint"].is_string(), "{}", answer.text());
    }
    let answer = people.send(request("GET", "/v1/tasks", None, Body::empty())).await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let basic = axum::http::Request::get("/v1/tasks").header("authorization", format!("Basic {viewer}"));
    assert_eq!(people.send(basic.body(Body::empty()).unwrap()).await.unwrap().status(), 401);
    let wrong_method = ask(&people, request("DELETE", "/v1/tasks", Some(&viewer), "")).await.unwrap();
    assert_eq!(wrong_method.error().0, 405);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once() {
    let api = RemoteApi::start().await;
    let (people, admin) = (api.people(), api.token(Role::Admin));
    let token = admin.reveal();
    assert_eq!(get(&people, "/v1/tokens", Some(&token)).await.unwrap().status, 200);
    let path = format!("/v1/tokens/{}/revoke", admin.id);
    assert_eq!(ask(&people, request("POST", &path, Some(&token), "")).await.unwrap().status, 200);
    assert_eq!(get(&people, "/v1/tokens", Some(&token)).await.unwrap().status, 401);
}

#[tokio::test]
async fn the_socket_is_for_people_and_knows_no_cluster_here() {
    let api = Api::start(0);
    assert_eq!(api.get("/v1/tasks").await.status, 200);
    assert_eq!(api.get("/v1/tokens").await.error(), (409, "DS0314".to_owned()));
    assert_eq!(api.post("/v1/renew", "{}").await.error(), (403, "DS0313".to_owned()));
}
