//! A server on a real socket and the plainest possible client.

use std::{path::PathBuf, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{Request, Response, StatusCode},
};
use devstack::{
    audit::Audit,
    config::node::Limits,
    gateway::{
        router_of,
        server::{Server, connect},
    },
};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::watch;

use crate::fake::Fake;

pub struct Api {
    pub fake: Arc<Fake>,
    pub socket: PathBuf,
    pub stop: watch::Sender<bool>,
    pub serving: tokio::task::JoinHandle<()>,
    pub dir: tempfile::TempDir,
}

pub struct Answer {
    pub status: u16,
    pub kind: String,
    /// Its ETag.
    pub tag: Option<String>,
    /// The name of its line in the log of changes.
    pub request: Option<String>,
    /// When to come again, in seconds.
    pub retry_after: Option<String>,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
    /// Status and stable code of an error.
    pub fn error(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["apiVersion"], "v1");
        for key in ["code", "message", "hint", "file", "line"] {
            assert!(body["error"].as_object().unwrap().contains_key(key), "{key} in {body}");
        }
        (self.status, body["error"]["code"].as_str().unwrap().to_owned())
    }
}

impl Api {
    pub fn start(slots: u32) -> Self {
        Self::with(slots, Limits::default())
    }

    pub fn with(slots: u32, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let fake = Fake::new(slots);
        let server = Server::bind(&socket).unwrap();
        let audit = Arc::new(Audit::new(dir.path(), 1 << 20));
        let router = router_of(fake.clone(), None, Some(audit), limits);
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(server.serve(router, limits, stopped));
        Self { fake, socket, stop, serving, dir }
    }

    pub async fn open(&self, request: Request<Body>) -> (StatusCode, String, Body) {
        let response = self.send(request).await;
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        (response.status(), kind.unwrap_or_default(), response.into_body())
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        let stream = connect(&self.socket).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap().map(Body::new)
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.send(request).await;
        let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, kind, tag) = (response.status().as_u16(), text("content-type").unwrap_or_default(), text("etag"));
        let (request, retry_after) = (text("x-request-id"), text("retry-after"));
        Answer {
            status,
            kind,
            tag,
            request,
            retry_after,
            body: response.into_body().collect().await.unwrap().to_bytes(),
        }
    }

    /// A GET with a header.
    pub async fn get_with(&self, path: &str, header: &str, value: &str) -> Answer {
        self.ask(Request::get(path).header(header, value).body(Body::empty()).unwrap()).await
    }

    pub async fn get_accepting(&self, path: &str, kind: &str) -> Answer {
        self.get_with(path, "accept", kind).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(Request::post(path).body(body.into()).unwrap()).await
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: impl Into<Body>) -> Answer {
        self.ask(Request::post(path).header("idempotency-key", key).body(body.into()).unwrap()).await
    }

    /// Submits a plan of the project `shop` whose tasks are these TOML lines.
    pub async fn plan(&self, tasks: &str) -> Answer {
        self.post("/v1/plans", plan(tasks)).await
    }
}

/// A plan of the project `shop`: role `dev` succeeds, `bad` fails, `slow` never ends.
pub fn plan(tasks: &str) -> String {
    format!(
        "[project]\nname = \"shop\"\nreview = \"none\"\n[agents.dev]\ncommand = [\"exit\", \"0\"]\n[agents.bad]\ncommand = [\"exit\", \"1\"]\n\
         [agents.slow]\ncommand = [\"hang\"]\n[defaults]\nrole = \"dev\"\nattempts = 1\n{tasks}"
    )
}
