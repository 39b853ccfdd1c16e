//! A person's directory, and the real program run in it. Shared by `story` and `hostile`: everything is done through
//! the command line and looked at from outside.
//! Deliberately absent: devstack's own types.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Nothing here takes as long, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(180);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// A directory with a project in it, and a place where unsandboxed agents and the test meet.
pub(crate) struct World {
    root: tempfile::TempDir,
    sandbox: &'static str,
    image: Option<String>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit code, or all that was said.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Something in what it said to people.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
        self
    }

    /// The JSON on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A command that runs; killed at the latest when the test is over.
pub(crate) struct Running {
    child: Child,
    out: (PathBuf, PathBuf),
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.out.0).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.out.1).unwrap_or_default()
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(started.elapsed() < DEADLINE, "it does not end:\n{}\n{}", self.stdout(), self.stderr());
            thread::sleep(LOOK);
        };
        Ended { code: status.code().unwrap_or(-1), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(LOOK);
    }
}

impl World {
    /// An empty directory.
    pub(crate) fn bare() -> Self {
        // Somebody's `.devstack` above would be found before ours is made.
        let above = std::env::temp_dir();
        let taken = above.ancestors().any(|dir| dir.join(".devstack").exists());
        let above = if taken { PathBuf::from("/dev/shm") } else { above };
        let root = tempfile::tempdir_in(above).expect("a scratch directory");
        let world = Self { root, sandbox: "auto", image: None };
        for (dir, mode) in [("", 0o755), ("shop", 0o755), ("gate", 0o777), ("home", 0o700), ("out", 0o700)] {
            fs::create_dir_all(world.root().join(dir)).unwrap();
            fs::set_permissions(world.root().join(dir), Permissions::from_mode(mode)).unwrap();
        }
        world
    }

    /// A repository with one commit on `main`: `README` and `numbers`, ten lines of them.
    pub(crate) fn with_repository() -> Self {
        let world = Self::bare();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        world.write("README", "a shop\n");
        world.write("numbers", &(1..=10).map(|n| format!("{n}\n")).collect::<String>());
        world.commit_all("Open the shop");
        world
    }

    /// Agents see the machine as their user does, so that they can meet the test at the gate.
    pub(crate) fn unsandboxed(mut self) -> Self {
        self.sandbox = "off";
        self
    }

    /// Agents run in containers made from this image, on the machine's engine.
    pub(crate) fn in_containers(mut self, image: &str) -> Self {
        self.image = Some(image.to_owned());
        self
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The project's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root().join("shop")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Is there still a directory of an attempt whose name starts so (`shop.T-001.`)?
    pub(crate) fn has_attempt(&self, start: &str) -> bool {
        let names = fs::read_dir(self.path(".devstack/attempts")).expect("the directory of attempts");
        names.map(|entry| entry.unwrap().file_name()).any(|name| name.to_string_lossy().starts_with(start))
    }

    /// A file that an unsandboxed agent can make, see and wait for.
    pub(crate) fn gate(&self, name: &str) -> PathBuf {
        self.root().join("gate").join(name)
    }

    pub(crate) fn open_gate(&self, name: &str) {
        fs::write(self.gate(name), "").unwrap();
    }

    /// Shell text that says it is there and waits for a gate, for as long as a test may take.
    pub(crate) fn wait_at(&self, name: &str) -> String {
        let gate = self.gate(name);
        let gate = gate.display();
        format!("touch {gate}.there; i=0; until [ -e {gate} ] || [ $i -gt 1200 ]; do sleep 0.1; i=$((i+1)); done\n")
    }

    #[track_caller]
    pub(crate) fn until_there(&self, name: &str) {
        let there = self.gate(&format!("{name}.there"));
        until(&format!("an agent at the gate {name}"), || there.exists());
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"DEVSTACK_") || name.as_encoded_bytes().starts_with(b"GIT_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.root().join("home")).env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
        // No engine, but where a story is about containers.
        command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
    }

    /// git in any directory, as a person runs it: did it work, and its output; with errors if it failed.
    pub(crate) fn try_git(&self, dir: &Path, args: &[&str]) -> (bool, String) {
        let mut command = Command::new("git");
        self.environment(&mut command);
        let output = command.arg("-C").arg(dir).args(args).output().expect("git is there");
        let text = if output.status.success() { output.stdout } else { [output.stdout, output.stderr].concat() };
        (output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    #[track_caller]
    pub(crate) fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let (fine, text) = self.try_git(dir, args);
        assert!(fine, "git {args:?}: {text}");
        text
    }

    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.dir(), args)
    }

    pub(crate) fn commit_all(&self, message: &str) -> String {
        self.git(&["add", "--all", "."]);
        self.git(&["commit", "--quiet", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The hub of the project.
    pub(crate) fn hub(&self) -> PathBuf {
        self.path(".devstack/projects/shop/hub.git")
    }

    #[track_caller]
    pub(crate) fn in_hub(&self, args: &[&str]) -> String {
        self.git_in(&self.hub(), args)
    }

    /// Nothing in the hub is damaged.
    #[track_caller]
    pub(crate) fn hub_is_whole(&self) {
        let (fine, text) = self.try_git(&self.hub(), &["fsck", "--strict", "--full", "--no-dangling"]);
        assert!(fine, "{text}");
    }

    pub(crate) fn spawn_in(&self, dir: &Path, args: &[&str]) -> Running {
        self.spawn_program(env!("CARGO_BIN_EXE_devstack"), dir, args)
    }

    /// The daemon, with this configuration.
    pub(crate) fn spawn_node(&self, config: &Path) -> Running {
        self.spawn_program(env!("CARGO_BIN_EXE_devstack-node"), &self.dir(), &["--config", config.to_str().unwrap()])
    }

    /// Any program, as the person runs it.
    pub(crate) fn spawn_program(&self, program: &str, dir: &Path, args: &[&str]) -> Running {
        let number = fs::read_dir(self.root().join("out")).unwrap().count();
        let out = ["out", "err"].map(|which| self.root().join("out").join(format!("{number:03}-{which}")));
        let file = |path: &Path| fs::File::create(path).unwrap();
        let mut command = Command::new(program);
        self.environment(&mut command);
        command.current_dir(dir).args(args).stdin(Stdio::null()).stdout(file(&out[0])).stderr(file(&out[1]));
        let [out, err] = out;
        Running { child: command.spawn().expect("the program is there"), out: (out, err) }
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        self.spawn_in(&self.dir(), args)
    }

    #[track_caller]
    pub(crate) fn devstack(&self, args: &[&str]) -> Ended {
        self.spawn(args).wait()
    }

    /// `devstack` on a machine with a container engine, left running.
    pub(crate) fn spawn_with_engine(&self, args: &[&str]) -> Running {
        let program = ["-u", "DOCKER_HOST", env!("CARGO_BIN_EXE_devstack")];
        self.spawn_program("env", &self.dir(), &[&program, args].concat())
    }

    #[track_caller]
    pub(crate) fn with_engine(&self, args: &[&str]) -> Ended {
        self.spawn_with_engine(args).wait()
    }

    fn run_args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let run = ["run", "devstack.toml", "--slots", "2"];
        let around = match &self.image {
            Some(_) => ["--runtime", "docker"].as_slice(),
            None => &["--runtime", "process", "--sandbox", self.sandbox],
        };
        [&run, around, more].concat()
    }

    fn spawn_run(&self, more: &[&str]) -> Running {
        let args = self.run_args(more);
        if self.image.is_some() { self.spawn_with_engine(&args) } else { self.spawn(&args) }
    }

    /// `devstack run`, left running.
    pub(crate) fn start(&self) -> Running {
        self.spawn_run(&[])
    }

    /// `devstack run` to its end.
    #[track_caller]
    pub(crate) fn run(&self) -> Ended {
        self.start().wait()
    }

    #[track_caller]
    pub(crate) fn run_with(&self, more: &[&str]) -> Ended {
        self.spawn_run(more).wait()
    }

    /// All tasks, as `task list -o json` gives them.
    #[track_caller]
    pub(crate) fn tasks(&self) -> Vec<Value> {
        let list = self.devstack(&["task", "list", "-o", "json"]).expect(0).json();
        list["tasks"].as_array().expect("tasks").clone()
    }

    /// One task in full.
    #[track_caller]
    pub(crate) fn task(&self, id: &str) -> Value {
        self.devstack(&["task", "show", id, "-o", "json"]).expect(0).json()["task"].clone()
    }

    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> String {
        self.task(id)["status"].as_str().expect("a status").to_owned()
    }

    /// Is the task known and has this status? To be waited for, also while the node starts.
    pub(crate) fn is_status(&self, id: &str, status: &str) -> bool {
        let shown = self.devstack(&["task", "show", id, "-o", "json"]);
        shown.code == 0 && shown.json()["task"]["status"] == status
    }

    #[track_caller]
    pub(crate) fn blocked_reason(&self, id: &str) -> String {
        self.task(id)["blocked_reason"].as_str().unwrap_or_default().to_owned()
    }

    /// The outcomes of a task's attempts, oldest first.
    #[track_caller]
    pub(crate) fn outcomes(&self, id: &str) -> Vec<String> {
        let task = self.task(id);
        let attempts = task["attempt_list"].as_array().expect("attempts").clone();
        attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap_or("running").to_owned()).collect()
    }

    #[track_caller]
    pub(crate) fn log(&self, id: &str, attempt: u32) -> String {
        self.devstack(&["task", "logs", id, "--attempt", &attempt.to_string()]).expect(0).stdout
    }

    #[track_caller]
    pub(crate) fn project(&self) -> Value {
        self.devstack(&["project", "show", "shop", "-o", "json"]).expect(0).json()["project"].clone()
    }

    /// Every fact that is kept, as JSON.
    #[track_caller]
    pub(crate) fn facts(&self) -> Vec<Value> {
        let mut tail = self.spawn(&["event", "tail", "--after", "0", "-o", "jsonl", "--timeout", "5s"]);
        until("the tail ends", || tail.is_over());
        let text = tail.stdout();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Writes `devstack.toml`.
    pub(crate) fn plan(&self, plan: &Plan) {
        let image = self.image.iter().map(|image| format!("image = {}\n", toml_text(image))).collect::<String>();
        self.write("devstack.toml", &plan.text().replace("[agents.dev]\n", &format!("[agents.dev]\n{image}")));
    }
}

/// A plan file for the project `shop` and the role `dev`.
pub(crate) struct Plan {
    project: String,
    dev: String,
    rest: String,
    tasks: Vec<Task>,
}

/// One task whose agent is a script.
pub(crate) struct Task {
    id: String,
    script: Option<String>,
    dependencies: Vec<String>,
    rest: String,
}

impl Plan {
    pub(crate) fn new(tasks: impl IntoIterator<Item = Task>) -> Self {
        Self {
            project: "repo = \".\"\n".into(),
            dev: String::new(),
            rest: String::new(),
            tasks: tasks.into_iter().collect(),
        }
    }

    /// No repository; what was added to `[project]` stays.
    pub(crate) fn without_repository(mut self) -> Self {
        self.project = self.project.replace("repo = \".\"\n", "");
        self
    }

    /// Another repository than this directory.
    pub(crate) fn source(mut self, address: &str) -> Self {
        self.project = format!("repo = {}\n", toml_text(address));
        self
    }

    /// More lines for `[project]`.
    pub(crate) fn project(mut self, lines: &str) -> Self {
        writeln!(self.project, "{lines}").unwrap();
        self
    }

    /// More lines for `[agents.dev]`.
    pub(crate) fn dev(mut self, lines: &str) -> Self {
        writeln!(self.dev, "{lines}").unwrap();
        self
    }

    /// More tables.
    pub(crate) fn tables(mut self, lines: &str) -> Self {
        writeln!(self.rest, "{lines}").unwrap();
        self
    }

    pub(crate) fn text(&self) -> String {
        let Self { project, dev, rest, tasks } = self;
        let mut text = format!(
            "[project]\nname = \"shop\"\n{project}\n[agents.dev]\ncount = 2\ncommand = [\"true\"]\n{dev}\n{rest}\n\
             [defaults]\nrole = \"dev\"\ntimeout = \"100s\"\ngrace = \"1s\"\nattempts = 1\n"
        );
        for task in tasks {
            let dependencies = serde_json::to_string(&task.dependencies).unwrap();
            write!(text, "\n[[task]]\nid = \"{}\"\ndependencies = {dependencies}\n", task.id).unwrap();
            if !task.rest.contains("title =") {
                writeln!(text, "title = \"Do {}\"", task.id).unwrap();
            }
            if let Some(script) = &task.script {
                writeln!(text, "command = [\"sh\", \"-c\", {}]", toml_text(script)).unwrap();
            }
            text.push_str(&task.rest);
        }
        text
    }
}

/// A TOML string; JSON's escapes are TOML's too.
pub(crate) fn toml_text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A task whose agent is this shell script.
pub(crate) fn task(id: &str, script: &str) -> Task {
    Task { id: id.into(), script: Some(script.into()), dependencies: vec![], rest: String::new() }
}

/// A task of a person.
pub(crate) fn human(id: &str) -> Task {
    let rest = "executor = \"human\"\nprompt = \"by hand\"\n".into();
    Task { id: id.into(), script: None, dependencies: vec![], rest }
}

impl Task {
    pub(crate) fn after(mut self, dependencies: &[&str]) -> Self {
        self.dependencies.extend(dependencies.iter().map(|id| (*id).to_owned()));
        self
    }

    /// Other lines than it had.
    pub(crate) fn replaced(mut self, lines: &str) -> Self {
        self.rest = lines.to_owned();
        self
    }

    /// More lines.
    pub(crate) fn with(mut self, lines: &str) -> Self {
        writeln!(self.rest, "{lines}").unwrap();
        self
    }
}

/// The image with a shell, git and the programs of agents, in the machine's engine; made once on a machine. Other roles
/// have the minimal image. `Err` says why neither can be had here.
pub(crate) fn agent_image() -> Result<String, String> {
    let mut minimal = Command::new(env!("CARGO_BIN_EXE_devstack"));
    let minimal = minimal.args(["image", "build", "--minimal"]).output().map_err(|error| error.to_string())?;
    if !minimal.status.success() {
        return Err(format!("devstack image build: {}", String::from_utf8_lossy(&minimal.stderr).trim()));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/agent/build-offline");
    let output = Command::new(script).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("deploy/agent/build-offline: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Everything below a directory, links not followed; what vanishes meanwhile is left out.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

/// The files below a directory that hold these bytes.
pub(crate) fn files_with(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let mut bytes = Vec::new();
        fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).is_ok()
            && bytes.windows(needle.len()).any(|window| window == needle)
    };
    files_below(dir).into_iter().filter(holds).collect()
}

/// Living processes whose command line holds this text.
pub(crate) fn processes_with(text: &str) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text) && *pid != std::process::id() as i32
    })
    .collect()
}
