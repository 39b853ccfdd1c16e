//! A Taskmaster that others reach over TCP, and people with tokens who ask it over TLS.
//! Deliberately absent: agent hosts on other machines (tests/cluster).

use std::fs;

use axum::{
    body::Body,
    http::{Method, Request},
};
use devstack::gateway::https::{Https, HttpsError};
use devstack_cluster::tls;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::bench::{Running, World, until};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// Status and stable code of a refusal.
    pub(crate) fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or_default())
    }

    /// What it says, with what to do about it.
    pub(crate) fn said(&self) -> String {
        let error = &self.body["error"];
        format!("{}; {}", error["message"].as_str().unwrap_or_default(), error["hint"].as_str().unwrap_or_default())
    }
}

/// The node, in a world with a repository.
pub(crate) struct Taskmaster {
    pub(crate) world: World,
    pub(crate) runtime: Runtime,
    pub(crate) node: Running,
    https: Https,
}

impl Taskmaster {
    /// With these lines more in its configuration; they may end with a section.
    pub(crate) fn start(world: World, config: &str) -> Self {
        let (file, state) = (world.root().join("node.toml"), world.root().join("state"));
        let (file, state) = (file.to_str().unwrap(), state.to_str().unwrap());
        let any = "127.0.0.1:0";
        let init = ["cluster", "init", "--name", "test", "--advertise", "127.0.0.1", "--api-listen", any];
        world
            .devstack(&[&init[..], &["--link-listen", any, "--config", file, "--state-dir", state]].concat())
            .expect(0);
        let text = fs::read_to_string(file).unwrap();
        let host = "[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\nslots = 2\n";
        fs::write(file, format!("{text}\n{host}{config}")).unwrap();
        let node = world.spawn_node(file.as_ref());
        let address = || {
            let said = node.stderr();
            let line = said.lines().find(|line| line.contains("the API listens on TCP"))?;
            Some(line[line.find("127.0.0.1:")?..].chars().take_while(|c| !c.is_whitespace()).collect::<String>())
        };
        until(&format!("the API listens: {}", node.stderr()), || address().is_some());
        tls::install_provider();
        let ca = fs::read_to_string(format!("{state}/cluster/ca.pem")).unwrap();
        let https = Https::new(&address().unwrap(), tls::client_trusting(&ca).unwrap()).unwrap();
        let taskmaster = Self { world, runtime: Runtime::new().unwrap(), node, https };
        until("the node answers", || taskmaster.on_socket(&["status"]).code == 0);
        taskmaster
    }

    /// `devstack` over the node's socket.
    pub(crate) fn on_socket(&self, args: &[&str]) -> crate::bench::Ended {
        let socket = format!("unix://{}", self.world.root().join("state/api.sock").display());
        self.world.devstack(&[&["--address", &socket], args].concat())
    }

    pub(crate) fn token(&self, role: &str) -> String {
        self.on_socket(&["token", "create", "--role", role]).expect(0).stdout.trim().to_owned()
    }

    /// One request over TLS, on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Answer, HttpsError> {
        let response = self.https.send(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }

    /// The same, from a test without tasks.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: impl Into<Body>) -> Answer {
        self.runtime.block_on(self.send(request(method, path, token, body))).unwrap()
    }

    /// Submits a plan of the project `name` whose repository is `repo`, with a person's task.
    pub(crate) fn submit(&self, token: &str, name: &str, repo: &str) -> Answer {
        self.ask("POST", "/v1/plans", token, plan(name, repo))
    }

    /// Everything below a directory of the node's state.
    pub(crate) fn files(&self, below: &str) -> Vec<(std::path::PathBuf, u64)> {
        let (mut found, mut open) = (Vec::new(), vec![self.world.root().join("state").join(below)]);
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(about) if about.is_dir() => open.push(entry.path()),
                    Ok(about) => found.push((entry.path(), about.len())),
                    // It is gone already.
                    Err(_) => {}
                }
            }
        }
        found
    }
}

pub(crate) fn request(method: &str, path: &str, token: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    request.header("authorization", format!("Bearer {token}")).body(body.into()).unwrap()
}

/// A plan with one task that waits for a person.
pub(crate) fn plan(name: &str, repo: &str) -> String {
    format!(
        "[project]\nname = \"{name}\"\nrepo = \"{repo}\"\n[agents.dev]\ncommand = [\"true\"]\n\
         [[task]]\nid = \"T\"\ntitle = \"By hand\"\nexecutor = \"human\"\nprompt = \"x\"\n"
    )
}
