//! Scratch runtimes and jobs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use devstack::config::secrets::Secret;
use devstack::runtime::{Isolation, Job, ProcessConfig, ProcessRuntime, Runtime, Sandbox};
use devstack_dag::{
    ids::{AgentName, AttemptId, ProjectName, RoleName, TaskId, TaskRef},
    plan::{Limits, Network},
};

/// A wait that is longer than this is a failure, on however busy a machine.
pub(crate) const GENEROUS: Duration = Duration::from_secs(120);

/// A state directory that agents can pass through, and a runtime in it.
pub(crate) struct Scratch {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runtime: ProcessRuntime,
}

impl Scratch {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self::with(sandbox, |_| {})
    }

    pub(crate) fn with(sandbox: Sandbox, change: impl FnOnce(&mut ProcessConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let runtime = runtime(dir.path(), sandbox, change);
        Self { dir, runtime }
    }

    pub(crate) fn attempt_dir(&self, attempt: &AttemptId) -> PathBuf {
        attempt_dir(self.dir.path(), attempt)
    }
}

/// A runtime on a state directory; its label is the directory's name, so tests cannot touch each other's processes.
pub(crate) fn runtime(state: &Path, sandbox: Sandbox, change: impl FnOnce(&mut ProcessConfig)) -> ProcessRuntime {
    let label = state.file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
    let mut config = ProcessConfig::new(state.join("state"), label);
    fs::create_dir_all(&config.state_dir).unwrap();
    config.sandbox = sandbox;
    change(&mut config);
    ProcessRuntime::new(config).unwrap()
}

pub(crate) fn attempt_dir(state: &Path, attempt: &AttemptId) -> PathBuf {
    let task = &attempt.task;
    state.join("state/attempts").join(format!("{}.{}.{}", task.project, task.id, attempt.number))
}

pub(crate) fn attempt(number: u32) -> AttemptId {
    let task = TaskRef { project: ProjectName::new("shop").unwrap(), id: TaskId::new("T-001").unwrap() };
    AttemptId { task, number }
}

/// A job that runs these shell lines, with generous times.
pub(crate) fn shell(number: u32, script: &str) -> Job {
    job(number, &["sh", "-c", script])
}

pub(crate) fn job(number: u32, command: &[&str]) -> Job {
    Job {
        attempt: attempt(number),
        agent: AgentName::new("dev1").unwrap(),
        role: RoleName::new("dev").unwrap(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        prompt: "do the thing\n".into(),
        task_json: b"{\"id\":\"T-001\"}".to_vec(),
        secrets: Vec::new(),
        workspace: None,
        image: None,
        network: Network::None,
        limits: Limits::default(),
        timeout_ms: 600_000,
        grace_ms: 60_000,
        idle_timeout_ms: 600_000,
        profile: None,
    }
}

pub(crate) fn secret(name: &str, value: &str) -> (String, Secret) {
    (name.to_owned(), Secret::new(value))
}

/// Starts, waits, and fails the test if that takes absurdly long.
pub(crate) async fn run(runtime: &dyn Runtime, job: &Job) -> devstack::runtime::Ended {
    runtime.start(job).await.unwrap();
    wait(runtime, &job.attempt).await
}

pub(crate) async fn wait(runtime: &dyn Runtime, attempt: &AttemptId) -> devstack::runtime::Ended {
    tokio::time::timeout(GENEROUS, runtime.wait(attempt)).await.expect("the attempt never ends").unwrap()
}

/// Looks until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + GENEROUS;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The whole log.
pub(crate) async fn log(runtime: &dyn Runtime, attempt: &AttemptId) -> String {
    let mut reader = runtime.log(attempt, 0, false).await.unwrap();
    let mut text = Vec::new();
    while let Some(bytes) = reader.next().await.unwrap() {
        text.extend(bytes);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A runtime whose agents are in a sandbox; `None`, loudly: this machine has none that holds.
pub(crate) fn sandboxed() -> Option<Scratch> {
    let scratch = Scratch::new(Sandbox::Auto);
    match scratch.runtime.describe().isolation {
        Isolation::Sandboxed { .. } => Some(scratch),
        Isolation::Unsandboxed { why } => {
            eprintln!("SKIPPED: the tests of the sandbox do not run here: {why}");
            None
        }
    }
}
