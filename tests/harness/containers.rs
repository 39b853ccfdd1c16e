//! A scratch docker runtime against an engine.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use devstack::runtime::{DockerConfig, DockerRuntime, docker::image};
use devstack_dag::ids::AttemptId;

/// A state directory, a runtime in it, and an installation of its own whose containers go with it.
pub(crate) struct Containers {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runtime: DockerRuntime,
    pub(crate) installation: String,
    /// The engine's socket.
    pub(crate) socket: String,
}

/// The machine's engine; `DOCKER_HOST` names another.
pub(crate) fn socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

impl Containers {
    /// On the machine's engine. `None`, loudly: none answers.
    pub(crate) async fn new(change: impl FnOnce(&mut DockerConfig)) -> Option<Self> {
        Self::at(&socket(), change).await
    }

    /// On the engine at this socket. `None`, loudly: none answers.
    pub(crate) async fn at(socket: &str, change: impl FnOnce(&mut DockerConfig)) -> Option<Self> {
        if let Err(error) = image::build_minimal(Path::new(socket), false).await {
            eprintln!("SKIPPED: the tests of containers do not run here: {error}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let runtime = runtime(dir.path(), socket, change).await;
        Some(Self { installation: label(dir.path()), dir, runtime, socket: socket.to_owned() })
    }

    /// Asks its engine as a person would.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        docker_at(&self.socket, args)
    }

    /// The log of an attempt of theirs.
    #[allow(dead_code, reason = "used by the benchmark")]
    pub(crate) fn log_of(&self, attempt: &AttemptId) -> PathBuf {
        let name = format!("{}.{}.{}", attempt.task.project, attempt.task.id, attempt.number);
        self.dir.path().join("state/attempts").join(name).join("shim/log")
    }

    /// Names of its containers.
    pub(crate) fn names(&self) -> Vec<String> {
        let filter = format!("label=devstack.installation={}", self.installation);
        self.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
    }

    /// What its container is called.
    pub(crate) fn name(&self, attempt: &AttemptId) -> String {
        let task = &attempt.task;
        format!("devstack.{}.{}.{}.{}", self.installation, task.project, task.id, attempt.number)
    }

    /// A field of what the engine shows of its container, as a template.
    pub(crate) fn inspect(&self, attempt: &AttemptId, template: &str) -> String {
        self.docker(&["inspect", "--format", template, &self.name(attempt)]).trim().to_owned()
    }

    /// The host's id of its first process.
    pub(crate) fn pid(&self, attempt: &AttemptId) -> i32 {
        self.inspect(attempt, "{{.State.Pid}}").parse().unwrap()
    }

    /// Where its secrets are while it has any.
    pub(crate) fn vaults(&self) -> Vec<PathBuf> {
        let name = format!("devstack-{}", self.installation);
        ["/run", "/dev/shm"].iter().map(|base| Path::new(base).join(&name)).filter(|dir| dir.exists()).collect()
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        // The engine may be gone by now, and a drop must not panic.
        let ask = |args: &[&str]| {
            let output = Command::new("docker").args(["-H", &format!("unix://{}", self.socket)]).args(args).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        let filter = format!("label=devstack.installation={}", self.installation);
        for id in ask(&["ps", "-aq", "--filter", &filter]).lines() {
            ask(&["rm", "-f", "-v", id]);
        }
        for id in ask(&["network", "ls", "-q", "--filter", &filter]).lines() {
            ask(&["network", "rm", id]);
        }
        // Its table of the firewall, if a bridge was made.
        let table = format!("devstack_{}", self.installation);
        let _ = Command::new("nft").args(["delete", "table", "inet", &table]).stderr(Stdio::null()).status();
        self.vaults().iter().for_each(|dir| drop(fs::remove_dir_all(dir)));
    }
}

/// The installation of a state directory: its name, so tests cannot touch each other's containers.
pub(crate) fn label(dir: &Path) -> String {
    dir.file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_lowercase()
}

/// A runtime on a state directory.
pub(crate) async fn runtime(dir: &Path, socket: &str, change: impl FnOnce(&mut DockerConfig)) -> DockerRuntime {
    let mut config = DockerConfig::new(dir.join("state"), label(dir), socket.into());
    fs::create_dir_all(&config.state_dir).unwrap();
    change(&mut config);
    DockerRuntime::open(config).await.unwrap()
}

/// The engine's own command line, as a witness.
pub(crate) fn docker_at(socket: &str, args: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", &format!("unix://{socket}")]).args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An image with what the minimal one lacks: this machine's `git`, and an `id` that is root's by its set-user-ID bit.
/// Made once for an engine.
pub(crate) fn tools(socket: &str) -> String {
    const TAG: &str = "devstack-test/tools:1";
    if !docker_at(socket, &["images", "-q", TAG]).is_empty() {
        return TAG.to_owned();
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let git = run("which", &["git"]);
    let id = run("which", &["id"]);
    let made = docker_at(socket, &["create", image::MINIMAL]);
    run("docker", &["-H", &format!("unix://{socket}"), "export", "-o", "image.tar", made.trim()]);
    docker_at(socket, &["rm", made.trim()]);
    let add = |from: &str, to: &str, mode: &str| {
        let path = dir.path().join(to.trim_start_matches('/'));
        if path.exists() {
            return;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(from, &path).unwrap();
        let mode = format!("--mode={mode}");
        let owner = ["--owner=0", "--group=0", &mode];
        run("tar", &[&["--append", "-f", "image.tar"], &owner[..], &[to.trim_start_matches('/')]].concat());
    };
    add(&git, "/usr/bin/git", "755");
    add(&id, "/usr/bin/suid-id", "4755");
    for program in [&git, &id] {
        let listed = run("ldd", &[program]);
        for library in listed.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
            add(library, library, "755");
        }
    }
    let path = "ENV PATH=/opt/tools:/usr/bin:/bin";
    docker_at(socket, &["import", "--change", path, dir.path().join("image.tar").to_str().unwrap(), TAG]);
    TAG.to_owned()
}
