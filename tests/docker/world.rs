//! What the tests share: a world of containers, and what the runtime said in its log.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::{Mutex, Once, PoisonError},
};

use devstack::runtime::{DockerConfig, Runtime};
use devstack_dag::ids::AttemptId;
use nix::unistd::geteuid;

use crate::{containers::Containers, harness};

/// Containers on the machine's engine; `None`, loudly: there is none, or this is not root, who alone sees what is
/// asserted.
pub(crate) async fn world() -> Option<Containers> {
    world_with(|_| {}).await
}

pub(crate) async fn world_with(change: impl FnOnce(&mut DockerConfig)) -> Option<Containers> {
    if !may_run() {
        return None;
    }
    Containers::new(change).await
}

/// Only root sees from outside what becomes of containers.
pub(crate) fn may_run() -> bool {
    listen();
    let root = geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: the tests of containers need root, to look at them from outside");
    }
    root
}

impl Containers {
    pub(crate) fn attempt_dir(&self, attempt: &AttemptId) -> PathBuf {
        harness::attempt_dir(self.dir.path(), attempt)
    }

    /// A file that the agent makes in its workspace.
    pub(crate) async fn until_made(&self, attempt: &AttemptId, name: &str) {
        let path = self.attempt_dir(attempt).join("workspace").join(name);
        harness::until(name, || path.exists()).await;
    }

    /// Removes it and looks whether anything is left.
    pub(crate) async fn remove(&self, attempt: &AttemptId) {
        self.runtime.remove(attempt).await.unwrap();
        assert!(!self.attempt_dir(attempt).exists(), "files of {attempt} are left");
        assert!(!self.names().contains(&self.name(attempt)), "the container of {attempt} is left");
        let secrets = self.vaults().into_iter().flat_map(|dir| fs::read_dir(dir).unwrap());
        let mine = format!("{}.{}.{}", attempt.task.project, attempt.task.id, attempt.number);
        assert!(secrets.flatten().all(|entry| entry.file_name() != *mine), "secrets of {attempt} are left");
    }
}

static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LISTEN: Once = Once::new();

struct Said;

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SAID.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on what the runtime logs is kept.
fn listen() {
    LISTEN.call_once(|| {
        tracing_subscriber::fmt().with_env_filter("devstack=debug").with_ansi(false).with_writer(|| Said).init();
    });
}

/// The lines of the log that name an attempt.
pub(crate) fn said_of(attempt: &AttemptId) -> Vec<String> {
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let name = format!("attempt={attempt} ");
    let text = String::from_utf8_lossy(&said).into_owned();
    text.lines().filter(|line| format!("{line} ").contains(&name)).map(str::to_owned).collect()
}
