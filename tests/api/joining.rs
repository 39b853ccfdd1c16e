//! Joining, renewing and tokens over HTTPS.

use std::{sync::Arc, time::Duration};

use devstack::{
    members::{Bearer, Role},
    node::identity::{Identity, Side},
};
use devstack_cluster::{Credentials, JoinToken, NodeKey, tls};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{
    client::Answer,
    remote::{RemoteApi, ask, get, request, seconds},
};

async fn join(api: &RemoteApi, token: &Bearer, name: &str, key: &NodeKey) -> Answer {
    let body = json!({
        "token": token.id.to_string(), "secret": token.secret.reveal(), "name": name, "request": key.request().unwrap(),
    });
    let joining = api.with(tls::client_for_joining(api.members.fingerprint()).unwrap());
    ask(&joining, request("POST", "/v1/join", None, body.to_string())).await.unwrap()
}

/// Is a certificate good for a server, and for a client? By the numbers of RFC 5280, 4.2.1.12, as DER has them.
fn purposes(pem: &str) -> (bool, bool) {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let has = |purpose: u8| der.windows(10).any(|bytes| bytes == [6, 8, 0x2b, 6, 1, 5, 5, 7, 3, purpose]);
    (has(1), has(2))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn a_machine_joins_renews_and_is_removed() {
    let api = RemoteApi::start().await;
    let admin = api.token(Role::Admin).reveal();
    let people = api.people();
    let made = ask(&people, request("POST", "/v1/tokens", Some(&admin), r#"{"role":"agent-host"}"#)).await.unwrap();
    let token: JoinToken = text(&made.json()["token"]).parse().unwrap();
    assert_eq!((token.address(), token.ca), (api.address.as_str(), api.members.fingerprint()));
    let (key, token) = (NodeKey::generate().unwrap(), Bearer { id: token.id, secret: token.secret });
    let joined = join(&api, &token, "node-1", &key).await;
    assert_eq!(joined.status, 200, "{}", joined.text());
    let (joined, dir) = (joined.json(), tempfile::tempdir().unwrap());
    assert_eq!((text(&joined["cluster"]), text(&joined["link"])), ("test", "127.0.0.1:1"));
    assert_eq!(purposes(text(&joined["certificate"])), (false, true), "a host's is no server's");
    let credentials =
        Credentials::create(dir.path(), &key, text(&joined["certificate"]), text(&joined["ca"]), seconds()).unwrap();

    let page = get(&people, "/v1/cluster", Some(&admin)).await.unwrap().json();
    assert_eq!(page["members"][1]["name"], "node-1", "{page}");
    assert_eq!(page["fingerprint"], api.members.fingerprint().to_string());
    let tokens = get(&people, "/v1/tokens", Some(&admin)).await.unwrap();
    assert!(!tokens.text().contains(&token.secret.reveal()));
    let tokens = tokens.json();
    let used = tokens["tokens"].as_array().unwrap().iter().find(|known| known["role"] == "agent-host").unwrap();
    assert_eq!((&used["state"], &used["used_by"]), (&json!("used"), &json!("node-1")));

    let node = api.with(credentials.client_config());
    let next = NodeKey::generate().unwrap();
    let body = json!({"request": next.request().unwrap()}).to_string();
    let renewed = ask(&node, request("POST", "/v1/renew", None, body.clone())).await.unwrap();
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(purposes(text(&renewed.json()["certificate"])), (false, true), "nor the next");
    credentials.replace(&next, text(&renewed.json()["certificate"]), seconds()).unwrap();
    let node = api.with(credentials.client_config());
    assert_eq!(ask(&node, request("POST", "/v1/renew", None, body.clone())).await.unwrap().status, 200);
    api.members.remove(&credentials.certificate().name, seconds()).unwrap();
    let refused = ask(&node, request("POST", "/v1/renew", None, body)).await.unwrap();
    assert_eq!(refused.error(), (403, "DS0313".to_owned()));
}

#[tokio::test]
async fn what_lets_nobody_in() {
    let api = RemoteApi::start().await;
    let key = NodeKey::generate().unwrap();
    let used = api.token(Role::AgentHost);
    assert_eq!(join(&api, &used, "node-1", &key).await.status, 200);
    let revoked = api.token(Role::AgentHost);
    api.members.revoke_token(&revoked.id.to_string(), seconds()).unwrap();
    let forged = Bearer { id: used.id, secret: api.token(Role::AgentHost).secret };
    for (token, name, error) in [
        (&used, "node-2", (403, "DS0315")),
        (&revoked, "node-2", (403, "DS0315")),
        (&api.token(Role::Admin), "node-2", (403, "DS0315")),
        (&forged, "node-2", (401, "DS0312")),
        (&api.token(Role::AgentHost), "node-1", (409, "DS0316")),
        (&api.token(Role::AgentHost), "master", (409, "DS0316")),
        (&api.token(Role::AgentHost), "localhost", (409, "DS0316")),
        (&api.token(Role::AgentHost), "a b", (400, "DS0301")),
    ] {
        let answer = join(&api, token, name, &key).await;
        assert_eq!(answer.error(), (error.0, error.1.to_owned()), "{}", answer.text());
    }
    let people = api.people();
    for body in ["", "{}", "[]", "{\"token\":1}", &"x".repeat(100_000)] {
        let answer = ask(&people, request("POST", "/v1/join", None, body.to_owned())).await.unwrap();
        assert!([400, 413].contains(&answer.status), "{}", answer.text());
    }
    assert_eq!(api.members.present().members.len(), 2);
}

#[tokio::test]
async fn tokens_are_made_with_care() {
    let api = RemoteApi::start().await;
    let (people, admin) = (api.people(), api.token(Role::Admin).reveal());
    let make =
        async |body: &str| ask(&people, request("POST", "/v1/tokens", Some(&admin), body.to_owned())).await.unwrap();
    let made = make(r#"{"role":"viewer","name":"anna","expires_in":60}"#).await.json();
    assert_eq!((&made["details"]["name"], &made["details"]["state"]), (&json!("anna"), &json!("live")));
    assert_eq!(get(&people, "/v1/status", made["token"].as_str()).await.unwrap().status, 200);
    for (body, status) in [
        (r#"{"role":"viewer","name":"anna"}"#, 409),
        (r#"{"role":"root"}"#, 400),
        (r#"{"role":"viewer","expires_in":0}"#, 400),
        (r#"{"role":"viewer","name":""}"#, 400),
        (r#"{}"#, 400),
    ] {
        assert_eq!(make(body).await.error().0, status, "{body}");
    }
    let unknown = ask(&people, request("POST", "/v1/tokens/nobody/revoke", Some(&admin), "")).await.unwrap();
    assert_eq!(unknown.error(), (404, "DS0309".to_owned()));
}

#[tokio::test]
async fn a_member_renews_its_certificate_while_it_runs() {
    let api = RemoteApi::with_life(Duration::from_secs(3)).await;
    let (credentials, _) = api.member("node-1");
    let identity = Identity { credentials: Arc::new(credentials), side: Side::Joined(api.address.clone()) };
    let taskmaster = Identity { credentials: api.credentials.clone(), side: Side::Taskmaster(api.members.clone()) };
    let renewing = [identity.keep_fresh(), taskmaster.keep_fresh()];
    let first = [identity.credentials.certificate(), taskmaster.credentials.certificate()];
    // Through two renewals of each, after which the first certificate is refused.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while first.iter().any(|first| api.members.admit(first).is_ok()) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (identity, first) in [&identity, &taskmaster].into_iter().zip(first) {
        let present = identity.credentials.certificate();
        assert!(present.not_after > seconds() && present.serial != first.serial);
        api.members.admit(&present).unwrap();
    }
    let node = api.with(identity.credentials.client_config());
    assert_eq!(get(&node, "/healthz", None).await.unwrap().status, 200);
    renewing.iter().for_each(tokio::task::JoinHandle::abort);
}
