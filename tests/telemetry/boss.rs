//! A Taskmaster on loopback as people found one, with agents as processes, and a second machine that joins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use crate::{
    http::{GENEROUS, PAUSE},
    loopback::own_address,
};

/// The cluster; its nodes are killed when it is dropped.
pub(crate) struct Boss {
    dir: tempfile::TempDir,
    pub(crate) api: String,
    nodes: Vec<(String, Child)>,
}

impl Drop for Boss {
    fn drop(&mut self) {
        for (name, node) in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
            if std::thread::panicking() {
                eprintln!("== {name}\n{}", fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap());
            }
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + GENEROUS;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < deadline, "this never happened: {what}");
        std::thread::sleep(PAUSE);
    }
}

impl Boss {
    /// Founded; nothing runs. `more` is added to its configuration.
    pub(crate) fn found(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "desk"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let api = own_address();
        let boss = Self { dir, api: api.to_string(), nodes: Vec::new() };
        let (config, state) = (boss.path("boss.toml"), boss.path("state"));
        let mut init = boss.command(env!("CARGO_BIN_EXE_devstack"), &["cluster", "init", "--name", "test"]);
        init.args(["--advertise", &api.ip().to_string(), "--api-listen", &boss.api]);
        init.args(["--link-listen", &own_address().to_string()]);
        init.arg("--config").arg(&config).arg("--state-dir").arg(state);
        assert!(init.status().unwrap().success());
        fs::write(&config, format!("{}\n{more}", fs::read_to_string(&config).unwrap())).unwrap();
        boss
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("state/api.sock")
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path("desk")).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.path("home"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts the node with the configuration `NAME.toml`, without waiting for anything.
    pub(crate) fn start(&mut self, name: &str) {
        let config = self.path(&format!("{name}.toml"));
        let log = fs::File::options().create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap();
        let mut command = self.command(env!("CARGO_BIN_EXE_devstack-node"), &["--config"]);
        command.arg(config).stdout(log.try_clone().unwrap()).stderr(log);
        self.nodes.push((name.to_owned(), command.spawn().unwrap()));
    }

    /// Waits until the Taskmaster answers.
    pub(crate) fn until_up(&self) {
        until("the node answers", || self.try_ask(&["status"]).ok());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, name: &str) {
        let at = self.nodes.iter().position(|(node, _)| node == name).unwrap();
        let (_, mut node) = self.nodes.remove(at);
        node.kill().unwrap();
        node.wait().unwrap();
    }

    /// What a node logged.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap()
    }

    fn try_ask(&self, args: &[&str]) -> Result<Value, String> {
        let mut command = self.command(env!("CARGO_BIN_EXE_devstack"), &[args, &["-o", "json"]].concat());
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// The JSON answer of a command.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        self.try_ask(args).unwrap_or_else(|why| panic!("devstack {args:?}: {why}"))
    }

    /// What a command prints.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let output = self.command(env!("CARGO_BIN_EXE_devstack"), args).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "devstack {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes a machine a member; its configuration is `NAME.toml`, with `more` added.
    pub(crate) fn join(&self, name: &str, more: &str) {
        let token = self.says(&["token", "create", "--role", "agent-host"]);
        let config = self.path(&format!("{name}.toml"));
        let mut join = self.command(env!("CARGO_BIN_EXE_devstack-node"), &["join", &token, "--name", name, "--config"]);
        join.arg(&config).arg("--state-dir").arg(self.path(name));
        assert!(join.status().unwrap().success());
        fs::write(&config, format!("{}\n{more}", fs::read_to_string(&config).unwrap())).unwrap();
    }

    /// Submits a plan of the project `shop`, which has no repository: tasks are plain commands.
    pub(crate) fn submit(&self, tasks: &str) {
        let plan = self.path("desk/plan.toml");
        let head =
            "[project]\nname = \"shop\"\n[agents.dev]\ncount = 2\ncommand = [\"true\"]\n[defaults]\nattempts = 1\n";
        fs::write(&plan, format!("{head}{tasks}")).unwrap();
        self.ask(&["plan", "submit", plan.to_str().unwrap()]);
    }

    /// Waits until a task has this status.
    pub(crate) fn until_status(&self, id: &str, status: &str) {
        until(&format!("{id} is {status}"), || {
            (self.ask(&["task", "show", id])["task"]["status"] == status).then_some(())
        });
    }
}

/// Is this program there? If not, the test is skipped, and says so.
pub(crate) fn installed(what: &str, program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        println!("SKIPPED: {what}: {program} is not installed");
    }
    found
}

/// A file that is shipped.
pub(crate) fn shipped(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)).unwrap()
}
