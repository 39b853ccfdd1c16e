//! A scratch docker runtime against the machine's engine.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use devstack::runtime::{DockerConfig, DockerRuntime, docker::image};
use devstack_dag::ids::AttemptId;

/// A state directory, a runtime in it, and an installation of its own whose containers go with it.
pub(crate) struct Containers {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runtime: DockerRuntime,
    pub(crate) installation: String,
}

/// The engine's socket; `DOCKER_HOST` names another.
pub(crate) fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

impl Containers {
    /// `None`, loudly: no engine answers.
    pub(crate) async fn new(change: impl FnOnce(&mut DockerConfig)) -> Option<Self> {
        if let Err(error) = image::build_minimal(Path::new(&socket()), false).await {
            eprintln!("SKIPPED: the tests of containers do not run here: {error}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let installation = label(dir.path());
        let runtime = runtime(dir.path(), change).await;
        Some(Self { dir, runtime, installation })
    }

    pub(crate) fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    /// The log of an attempt of theirs.
    pub(crate) fn log_of(&self, attempt: &AttemptId) -> std::path::PathBuf {
        let name = format!("{}.{}.{}", attempt.task.project, attempt.task.id, attempt.number);
        self.state().join("attempts").join(name).join("shim/log")
    }

    /// Names of its containers.
    pub(crate) fn names(&self) -> Vec<String> {
        let filter = format!("label=devstack.installation={}", self.installation);
        docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for name in self.names() {
            docker(&["rm", "-f", "-v", &name]);
        }
        let network = format!("devstack-{}", self.installation);
        let _ = Command::new("docker").args(["network", "rm", &network]).output();
        let _ = fs::remove_dir_all(format!("/run/devstack-{}", self.installation));
    }
}

/// The installation of a state directory: its name, so tests cannot touch each other's containers.
pub(crate) fn label(dir: &Path) -> String {
    dir.file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_lowercase()
}

/// A runtime on a state directory.
pub(crate) async fn runtime(dir: &Path, change: impl FnOnce(&mut DockerConfig)) -> DockerRuntime {
    let mut config = DockerConfig::new(dir.join("state"), label(dir), socket().into());
    fs::create_dir_all(&config.state_dir).unwrap();
    change(&mut config);
    DockerRuntime::open(config).await.unwrap()
}

/// The engine's own command line, as a witness.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
