//! A directory with a node in it, and the command run there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use devstack::{
    config::node::Limits,
    gateway::{router, server::Server},
};
use serde_json::Value;
use tokio::sync::watch;

use crate::fake::Fake;

/// A node that serves on a thread of its own until dropped.
pub struct Node {
    pub fake: Arc<Fake>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Node {
    pub fn serve(socket: &Path, slots: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let fake = Fake::new(slots);
        let (ready, is_ready) = mpsc::channel();
        let (socket, backend) = (socket.to_owned(), fake.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&socket).unwrap();
                ready.send(()).unwrap();
                server.serve(router(backend, Limits::default()), Limits::default(), stopped).await;
            });
        });
        is_ready.recv().unwrap();
        Self { fake, stop, thread: Some(thread) }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A scratch directory with a `.devstack`.
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".devstack")).unwrap();
        Self { dir }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".devstack/api.sock")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devstack"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The error object on stderr, which must be alone there.
    pub fn error(&self) -> Value {
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        let body: Value = serde_json::from_str(&self.err).unwrap();
        assert_eq!(body["apiVersion"], "v1");
        for key in ["code", "message", "hint", "file", "line"] {
            assert!(body["error"].as_object().unwrap().contains_key(key), "{key} in {body}");
        }
        body["error"].clone()
    }
}

/// A plan of the project `name` with these tasks.
pub fn plan(name: &str, tasks: &str) -> String {
    format!(
        "[project]\nname = \"{name}\"\n[agents.dev]\ncommand = [\"exit\", \"0\"]\n[agents.bad]\ncommand = [\"exit\", \"1\"]\n\
         [agents.slow]\ncommand = [\"hang\"]\n[defaults]\nrole = \"dev\"\nattempts = 1\n{tasks}"
    )
}
