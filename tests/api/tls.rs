//! The API on TCP against those who mean it ill, and through a change of its certificate.

use std::{io::ErrorKind, sync::Arc};

use axum::body::Body;
use devstack::{
    gateway::https::{Https, HttpsError},
    members::Role,
};
use devstack_cluster::{
    ClusterCa, Credentials, Fingerprint, NodeKey, NodeName, PeerCertificate, Purpose, SigningRequest, tls,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::remote::{RemoteApi, get, request, seconds};

async fn handshake(api: &RemoteApi, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(&api.address).await.unwrap();
    TlsConnector::from(config).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn five_hundred_silent_clients_hold_up_nobody() {
    let api = RemoteApi::start().await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(TcpStream::connect(&api.address).await.unwrap());
    }
    let viewer = api.token(Role::Viewer).reveal();
    assert_eq!(get(&api.people(), "/v1/status", Some(&viewer)).await.unwrap().status, 200);
    // The first ones had to go; that they did shows in the end of their connection.
    let mut byte = [0];
    let ended = silent[0].read(&mut byte).await;
    assert!(matches!(ended, Ok(0)) || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn clients_that_say_nothing_after_the_handshake_hold_up_nobody_either() {
    let api = RemoteApi::start().await;
    let config = tls::client_trusting(api.members.ca_pem()).unwrap();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(handshake(&api, config.clone()).await);
    }
    let viewer = api.token(Role::Viewer).reveal();
    assert_eq!(get(&api.people(), "/v1/status", Some(&viewer)).await.unwrap().status, 200);
}

#[tokio::test]
async fn garbage_is_not_answered_and_harms_nobody() {
    let api = RemoteApi::start().await;
    for garbage in [&b"GET /v1/tasks HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0; 4096], b"\x16\x03\x01\xff\xff\x01", b"x"] {
        let mut stream = TcpStream::connect(&api.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{answer:?}");
    }
    // Inside TLS it is answered by HTTP, and no more.
    let mut stream = handshake(&api, tls::client_trusting(api.members.ca_pem()).unwrap()).await;
    stream.write_all(b"\0\x01 garbage\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(get(&api.people(), "/healthz", None).await.unwrap().status, 200);
}

#[tokio::test]
async fn who_is_of_another_cluster_is_not_met() {
    let api = RemoteApi::start().await;
    let other = ClusterCa::create("test", seconds()).unwrap();
    let trusting = api.with(tls::client_trusting(other.certificate_pem()).unwrap());
    assert!(matches!(get(&trusting, "/healthz", None).await, Err(HttpsError::Untrusted { .. })));
    let joining = api.with(tls::client_for_joining(Fingerprint::from_bytes([7; 32])).unwrap());
    assert!(matches!(get(&joining, "/healthz", None).await, Err(HttpsError::Untrusted { .. })));
    // A certificate of another CA with a member's name is no certificate here.
    api.member("node-1");
    let (dir, key) = (tempfile::tempdir().unwrap(), NodeKey::generate().unwrap());
    let request = SigningRequest::parse(&key.request().unwrap()).unwrap();
    let name = NodeName::new("node-1").unwrap();
    let forged =
        other.issue(&request, &name, &[], Purpose::Server, std::time::Duration::from_secs(60), seconds()).unwrap();
    let ca = other.certificate_pem();
    let forged = Credentials::create(dir.path(), &key, &forged.certificate_pem, ca, seconds()).unwrap();
    // Its holder trusts nobody here either; one that would is refused by the server.
    let refused = get(&api.with(forged.client_config()), "/healthz", None).await;
    assert!(matches!(refused, Err(HttpsError::Untrusted { .. })), "{:?}", refused.map(|answer| answer.status));
}

#[tokio::test]
async fn a_new_certificate_needs_no_restart() {
    let api = RemoteApi::start().await;
    let config = tls::client_trusting(api.members.ca_pem()).unwrap();
    let shown = |stream: &TlsStream<TcpStream>| {
        PeerCertificate::of(stream.get_ref().1.peer_certificates().unwrap()).unwrap().serial
    };
    let mut before = handshake(&api, config.clone()).await;
    let key = NodeKey::generate().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let own = api.members.renew_own(&key.request().unwrap(), &names, seconds()).unwrap();
    api.credentials.replace(&key, &own.certificate_pem, seconds()).unwrap();
    let after = handshake(&api, config).await;
    assert_ne!(shown(&before), shown(&after));
    assert_eq!(shown(&after), api.credentials.certificate().serial);
    // Who was there stays.
    before.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    before.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn certificates_end_with_their_time() {
    let api = RemoteApi::start().await;
    let long_ago = seconds() - 2 * 3600;
    // Of a node: it is refused in the handshake.
    let (expired, https) = api.member_since("node-1", long_ago);
    assert!(expired.not_after() < seconds() && expired.renew_due(seconds()));
    let refused = get(&https, "/healthz", None).await;
    assert!(matches!(refused, Err(HttpsError::Lost { .. } | HttpsError::Unreachable { .. })));
    // Of the Taskmaster: nobody believes it, and the person is told why.
    let (key, names) = (NodeKey::generate().unwrap(), ["127.0.0.1".to_owned()]);
    let own = api.members.renew_own(&key.request().unwrap(), &names, long_ago).unwrap();
    api.credentials.replace(&key, &own.certificate_pem, long_ago).unwrap();
    let refused = get(&api.people(), "/healthz", None).await.map(|answer| answer.status);
    assert!(matches!(&refused, Err(HttpsError::Untrusted { reason, .. }) if reason.contains("expired")), "{refused:?}");
}

#[tokio::test]
async fn the_server_ends_when_told() {
    let api = RemoteApi::start().await;
    let viewer = api.token(Role::Viewer).reveal();
    let facts = api.people().send(request("GET", "/v1/facts", Some(&viewer), Body::empty())).await.unwrap();
    assert_eq!(facts.status(), 200);
    drop(facts);
    api.stop.send_replace(true);
    api.serving.await.unwrap();
    let people = Https::new(&api.address, tls::client_trusting(api.members.ca_pem()).unwrap()).unwrap();
    assert!(matches!(get(&people, "/healthz", None).await, Err(HttpsError::Unreachable { .. })));
}
