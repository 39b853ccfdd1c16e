//! A6: whoever takes connections takes their own. Hundreds of idle ones and of half-written requests, of viewers, a
//! member and strangers, keep neither an operator nor another member out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use devstack::{
    config::{node::Limits, plan_file},
    gateway::https::Https,
    members::Role,
};
use devstack_cluster::tls;
use devstack_dag::command::Command;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::remote::{RemoteApi, ask, get, request};

/// Requests of the operator that are timed.
const TIMED: usize = 200;
/// However busy the machine is.
const GENEROUS: Duration = Duration::from_secs(20);

/// A plan of the project `shop` with one task for a person.
fn plan() -> Command {
    let text = "[project]\nname = \"shop\"\n[agents.dev]\ncommand = [\"exit\", \"0\"]\n[[task]]\nid = \"a\"\n\
                title = \"x\"\nexecutor = \"human\"\nprompt = \"x\"\n";
    let plan = plan_file::parse("plan", text, &plan_file::Posted).unwrap();
    Command::SubmitPlan { plan, head: None }
}

type Stream = TlsStream<TcpStream>;

async fn open(api: &RemoteApi, config: &Arc<ClientConfig>, sent: &str) -> Stream {
    let stream = TcpStream::connect(&api.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

/// A connection with a request that was answered; it is kept.
async fn idle(api: &RemoteApi, config: &Arc<ClientConfig>, token: &str) -> Stream {
    let asked = format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut stream = open(api, config, &asked).await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

fn half(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n400\r\nhalf")
}

/// Is it answered in time?
async fn served(https: &Https, path: &str, token: &str) -> Duration {
    let started = Instant::now();
    let answer = tokio::time::timeout(GENEROUS, get(https, path, Some(token))).await;
    assert_eq!(answer.expect("it is answered").unwrap().status, 200);
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_idle_and_three_hundred_half_written_keep_nobody_out() {
    // Both ends of each connection are in this process.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let api = RemoteApi::limited(Limits::default()).await;
    let people = tls::client_trusting(api.members.ca_pem()).unwrap();
    let (evil, _) = api.member("evil");
    let (_, honest) = api.member("honest");
    let (mut crowd, started) = (Vec::new(), Instant::now());
    let one = api.token(Role::Viewer).reveal();
    for _ in 0..100 {
        crowd.push(idle(&api, &people, &one).await);
    }
    for _ in 0..20 {
        let token = api.token(Role::Viewer).reveal();
        for _ in 0..10 {
            crowd.push(idle(&api, &people, &token).await);
        }
    }
    // One configuration: its sessions are resumed, and a handshake costs little.
    let evil = evil.client_config();
    for _ in 0..150 {
        crowd.push(open(&api, &evil, &half("/v1/nodes/attempts/shop/a/1/log")).await);
    }
    // A viewer, who may not, and strangers who begin to say who they are.
    let plans = half("/v1/plans").replacen("\r\n", &format!("\r\nauthorization: Bearer {one}\r\n"), 1);
    for sent in [plans, half("/login")] {
        for _ in 0..75 {
            crowd.push(open(&api, &people, &sent).await);
        }
    }
    let crowded = started.elapsed();
    let (operator, https) = (api.token(Role::Operator).reveal(), api.people());
    let mut took = Vec::new();
    for _ in 0..TIMED {
        took.push(served(&https, "/v1/status", &operator).await);
    }
    let upload = request("POST", "/v1/nodes/attempts/shop/a/1/log", None, Body::from("whole"));
    let uploaded = tokio::time::timeout(GENEROUS, ask(&honest, upload)).await;
    assert_eq!(uploaded.expect("it is answered").unwrap().status, 200);
    took.sort_unstable();
    let at = |part: usize| took[TIMED * part / 100];
    println!(
        "beside {} connections ({crowded:?}): p50 {:?}, p99 {:?} of {TIMED} requests",
        crowd.len(),
        at(50),
        at(99)
    );
}

#[tokio::test]
async fn a_half_written_body_is_ended() {
    let api = RemoteApi::limited(Limits { body_stall: 300, ..Limits::default() }).await;
    let (node, _) = api.member("node-1");
    let people = tls::client_trusting(api.members.ca_pem()).unwrap();
    let operator = api.token(Role::Operator).reveal();
    api.fake.tell(plan());
    let submit = half("/v1/plans").replacen("\r\n", &format!("\r\nauthorization: Bearer {operator}\r\n"), 1);
    let resolve = submit.replace("/v1/plans", "/v1/tasks/shop/a/resolve");
    for (config, sent) in [
        (&node.client_config(), half("/v1/nodes/attempts/shop/a/1/log")),
        (&people, half("/login")),
        (&people, submit),
        (&people, resolve),
    ] {
        let mut stream = open(&api, config, &sent).await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(GENEROUS, stream.read_to_end(&mut answer)).await;
        // The end may come without TLS's own.
        let _ = ended.expect("the connection ends");
        let said = String::from_utf8_lossy(&answer);
        assert!(said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 5"), "{said}");
    }
}

#[tokio::test]
async fn what_is_said_live_may_pause() {
    let api = RemoteApi::limited(Limits { body_stall: 100, ..Limits::default() }).await;
    let (node, _) = api.member("node-1");
    let mut stream = open(&api, &node.client_config(), &half("/v1/nodes/logs/7")).await;
    let mut byte = [0];
    // Three times the limit, and nothing ends.
    let ended = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut byte)).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn a_key_is_of_its_caller() {
    let api = RemoteApi::limited(Limits::default()).await;
    api.fake.tell(plan());
    let with_key = |path: &str, token: &str| {
        let mut request = request("POST", path, Some(token), "{}");
        request.headers_mut().insert("idempotency-key", "the same".parse().unwrap());
        request
    };
    let (one, other) = (api.token(Role::Operator).reveal(), api.token(Role::Operator).reveal());
    let (people, pause, resume) = (api.people(), "/v1/projects/shop/pause", "/v1/projects/shop/resume");
    let status = async |path, token: &str| ask(&people, with_key(path, token)).await.unwrap().status;
    assert_eq!(status(pause, &one).await, 200);
    assert_eq!(status(pause, &one).await, 200, "a repetition");
    assert_eq!(status(resume, &one).await, 409, "another request under the same key");
    assert_eq!(status(resume, &other).await, 200, "somebody else's key");
}
