//! The socket itself: who may connect, what is replaced, long paths, the end.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use devstack::{
    config::node::Limits,
    gateway::server::{Server, ServerError, connect},
};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, sync::watch};

use crate::client::Api;

#[tokio::test]
async fn only_the_owner_may_connect() {
    let api = Api::start(0);
    assert_eq!(fs::metadata(&api.socket).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::bind(&path).unwrap();
    assert!(matches!(Server::bind(&path), Err(ServerError::InUse(_))));
    drop(server);
    assert!(!path.exists());
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&path), Err(ServerError::NotASocket(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_address_works() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    let path = deep.join("api.sock");
    let server = Server::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.serve(axum::Router::new(), Limits::default(), stopped));
    connect(&path).await.unwrap();
    stop.send_replace(true);
    serving.await.unwrap();
    assert!(!path.exists());
    assert!(connect(Path::new("/nonexistent/api.sock")).await.is_err());
}

#[tokio::test]
async fn an_open_request_is_finished_when_the_server_ends() {
    let api = Api::start(1);
    api.plan("[[task]]\nid = \"a\"\nrole = \"slow\"\ntitle = \"a\"\n").await;
    let waiting = api.get("/v1/wait?project=shop");
    tokio::pin!(waiting);
    // The request is on its way when the server is told to stop.
    let sent = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(sent.is_err());
    api.stop.send_replace(true);
    api.fake.finish("shop/a", 0);
    assert_eq!(waiting.await.status, 200);
    while !api.serving.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(!api.socket.exists());
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let api = Api::with(0, Limits { connections: 1, ..Limits::default() });
    let mut first = connect(&api.socket).await.unwrap();
    first.write_all(b"GET /v1/facts HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let second = api.get("/healthz");
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut second).await.is_err());
    drop(first);
    assert_eq!(second.await.status, 200);
}

#[tokio::test]
async fn a_connection_without_a_request_makes_room_where_there_is_none() {
    let api = Api::with(0, Limits { connections: 1, ..Limits::default() });
    let mut idle = connect(&api.socket).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(api.get("/healthz").await.status, 200);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
}
