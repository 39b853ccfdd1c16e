//! A cluster of real processes: one Taskmaster and hosts that reach it over a network of their own, each with a
//! directory below one root, and a person's repository.
//! Deliberately absent: what must hold at the end (`history`).

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    agents::{Meeting, Run},
    loopback::own_address,
    process::{Process, end_all_below},
    proxy::Network,
};

/// A wait that is longer than this is a failure, on however busy a machine.
const GENEROUS: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(30);

/// Longer than anything here takes: hosts that return are in time.
pub(crate) const NEVER: &str = "10m";
/// As short as a busy machine allows: a host that is meant to stay is heard every half second.
pub(crate) const SOON: &str = "2s";

/// One Taskmaster and its hosts.
pub(crate) struct Cluster {
    pub(crate) meeting: Meeting,
    pub(crate) taskmaster: Option<Process>,
    hosts: BTreeMap<String, Host>,
    api: String,
    link: String,
    root: tempfile::TempDir,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) node: Option<Process>,
    pub(crate) network: Network,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.taskmaster = None;
        self.hosts.clear();
        end_all_below(self.root.path());
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// A directory that agents may pass through.
fn passage(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    fs::set_permissions(dir, Permissions::from_mode(0o711)).unwrap();
}

impl Cluster {
    /// Founded, with hosts `h1`, `h2`, … of so many slots that are connected. Silent for `max_disconnect` more than two
    /// seconds, a host is lost.
    pub(crate) fn new(hosts: usize, slots: usize, max_disconnect: &str) -> Self {
        let mut cluster = Self::found(max_disconnect);
        for n in 1..=hosts {
            cluster.add_host(&format!("h{n}"), &format!("slots = {slots}\n"));
        }
        for n in 1..=hosts {
            cluster.until_up(&format!("h{n}"), true);
        }
        cluster
    }

    /// Without hosts; the Taskmaster runs.
    pub(crate) fn found(max_disconnect: &str) -> Self {
        Self::found_with(max_disconnect, "")
    }

    /// The same, with more lines for `[limits]`.
    pub(crate) fn found_with(max_disconnect: &str, more: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["", "home", "taskmaster"] {
            passage(&root.path().join(dir));
        }
        let meeting = Meeting::new(root.path());
        let (api, link) = (own_address(), own_address());
        let ip = api.ip().to_string();
        let (api, link) = (api.to_string(), link.to_string());
        let mut cluster = Self { meeting, taskmaster: None, hosts: BTreeMap::new(), api, link, root };
        let (config, state) = (cluster.path("taskmaster/node.toml"), cluster.path("taskmaster"));
        let mut init = cluster.command(&Cluster::program(), &["cluster", "init", "--name", "test"]);
        init.args(["--advertise", &ip, "--api-listen", &cluster.api, "--link-listen", &cluster.link]);
        done(init.arg("--config").arg(&config).arg("--state-dir").arg(state).output().unwrap());
        let text = fs::read_to_string(&config).unwrap().replace(", \"agent-host\"", "");
        let limits = format!(
            "[limits]\nlog_size = \"1MiB\"\nsuspect_after = \"2s\"\nmax_disconnect = \"{max_disconnect}\"\n\
             long_disconnect = \"{max_disconnect}\"\n{more}"
        );
        fs::write(config, text + &limits).unwrap();
        cluster.git(&["init", "--quiet", "--initial-branch=main", "shop"], "");
        fs::write(cluster.path("shop/README"), "a shop\n").unwrap();
        cluster.git(&["add", "."], "shop");
        cluster.git(&["commit", "--quiet", "-m", "Open the shop"], "shop");
        cluster.start_taskmaster();
        cluster
    }

    /// All of it is below.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// A place below the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Everything that everybody logged.
    pub(crate) fn logs(&self) -> String {
        let names = std::iter::once("taskmaster").chain(self.hosts.keys().map(String::as_str));
        names.map(|name| format!("== {name}\n{}", self.log(name))).collect()
    }

    /// What one node logged.
    pub(crate) fn log(&self, node: &str) -> String {
        fs::read_to_string(self.path(&format!("{node}.log"))).unwrap_or_default()
    }

    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.path("home"));
        command
    }

    /// The command, of the Taskmaster's version.
    pub(crate) fn program() -> String {
        let beside = |daemon: String| Path::new(&daemon).with_file_name("devstack").display().to_string();
        std::env::var(Self::IS_SKEWED[0]).map_or(env!("CARGO_BIN_EXE_devstack").to_owned(), beside)
    }

    pub(crate) fn devstack(&self, args: &[&str]) -> Output {
        self.command(&Cluster::program(), args).output().unwrap()
    }

    /// What a command that must succeed prints.
    #[track_caller]
    pub(crate) fn says(&self, args: &[&str]) -> String {
        done(self.devstack(args))
    }

    /// The JSON answer of a command.
    #[track_caller]
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.says(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// `git ARGS` below the root, as nobody in particular.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str], dir: &str) -> String {
        let mut git = self.command("git", &["-c", "user.name=A Person", "-c", "user.email=person@example.org"]);
        done(git.args(args).current_dir(self.path(dir)).output().unwrap()).trim_end().to_owned()
    }

    /// `sh -c SCRIPT` in the root.
    #[track_caller]
    pub(crate) fn says_shell(&self, script: &str) -> String {
        done(self.command("sh", &["-c", script]).output().unwrap())
    }

    /// What names daemons of another version.
    pub(crate) const IS_SKEWED: [&str; 2] = ["DEVSTACK_TEST_TASKMASTER", "DEVSTACK_TEST_HOST"];

    /// One more process of a node. `DEVSTACK_TEST_TASKMASTER` and `DEVSTACK_TEST_HOST` name the daemon of another
    /// version, for the upgrade rule: these tests must hold with either one a version behind, but for those of what is
    /// new.
    pub(crate) fn node(&self, name: &str) -> Process {
        let daemon = std::env::var(Self::IS_SKEWED[usize::from(name != "taskmaster")]);
        let mut node = self.command(daemon.as_deref().unwrap_or(env!("CARGO_BIN_EXE_devstack-node")), &["--config"]);
        node.arg(self.path(name).join("node.toml"));
        // Where a test made it, each node has a wall clock of its own (`clock`).
        let preload = self.path("clock.so");
        if preload.exists() {
            node.env("LD_PRELOAD", preload).env("DEVSTACK_TEST_CLOCK", self.path(&format!("{name}.clock")));
        }
        Process::start(node, &self.path(&format!("{name}.log")))
    }

    /// Waits until the Taskmaster answers.
    pub(crate) fn start_taskmaster(&mut self) {
        self.taskmaster = Some(self.node("taskmaster"));
        self.until("the Taskmaster answers", |cluster| cluster.devstack(&["status"]).status.success());
    }

    /// Lets a machine join and starts its node, with more lines for `[agent_host]`. Does not wait for it.
    pub(crate) fn add_host(&mut self, name: &str, agent_host: &str) {
        self.prepare_host(name, agent_host);
        self.start(name);
    }

    /// The same, but its node is not started.
    pub(crate) fn prepare_host(&mut self, name: &str, agent_host: &str) {
        passage(&self.path(name));
        let (config, state) = (self.path(name).join("node.toml"), self.path(name));
        let token = self.says(&["token", "create", "--role", "agent-host"]);
        let mut join = self.command(env!("CARGO_BIN_EXE_devstack-node"), &["join", token.trim(), "--name", name]);
        done(join.arg("--config").arg(&config).arg("--state-dir").arg(&state).output().unwrap());
        // From now on it knows its Taskmaster by the addresses of its own network.
        let network = Network::new();
        let (link, api) = (network.to(&self.link).to_string(), network.to(&self.api).to_string());
        let text = fs::read_to_string(&config).unwrap().replace(&self.link, &link);
        let runtime = format!("[agent_host]\nruntime = \"process\"\nsandbox = \"off\"\n{agent_host}");
        fs::write(config, text + &runtime).unwrap();
        fs::write(state.join("cluster/api-address"), api).unwrap();
        self.hosts.insert(name.to_owned(), Host { node: None, network });
    }

    /// Starts a host's node.
    pub(crate) fn start(&mut self, host: &str) {
        let node = self.node(host);
        self.hosts.get_mut(host).unwrap().node = Some(node);
    }

    /// kill -9 of a host's node.
    pub(crate) fn kill(&mut self, host: &str) {
        drop(self.hosts.get_mut(host).unwrap().node.take());
    }

    pub(crate) fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).unwrap()
    }

    /// The names of all hosts.
    pub(crate) fn host_names(&self) -> Vec<String> {
        self.hosts.keys().cloned().collect()
    }

    /// Where hosts reach the Taskmaster without a network of their own: for links, and for everything else.
    pub(crate) fn addresses(&self) -> (&str, &str) {
        (&self.link, &self.api)
    }

    /// Submits a plan: each task with those that it depends on.
    pub(crate) fn submit(&self, tasks: &[(&str, &[&str])]) {
        self.submit_text(&self.meeting.plan(tasks));
    }

    /// Submits the text of a plan.
    pub(crate) fn submit_text(&self, plan: &str) {
        // Beside the repository that it names, and ignored there.
        fs::write(self.path("shop/devstack.toml"), plan).unwrap();
        // Over the socket: the repository is the Taskmaster's own. How one travels from elsewhere, `tests/cli` shows.
        let socket = format!("unix://{}", self.path("taskmaster/api.sock").display());
        self.says(&["--address", &socket, "plan", "submit", self.path("shop/devstack.toml").to_str().unwrap()]);
    }

    /// Waits until a condition holds, as long as nobody ends who should not.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + GENEROUS;
        while !holds(self) {
            let nodes = self.hosts.values_mut().filter_map(|host| host.node.as_mut());
            let ended = nodes.chain(&mut self.taskmaster).any(Process::is_over);
            assert!(!ended && Instant::now() < deadline, "never: {what}; a node ended: {ended}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the Taskmaster holds a host for present, or not.
    #[track_caller]
    pub(crate) fn until_up(&mut self, host: &str, up: bool) {
        self.until(&format!("{host} is up: {up}"), |cluster| {
            let hosts = cluster.ask(&["host", "list"])["hosts"].clone();
            hosts.as_array().unwrap().iter().any(|seen| seen["name"] == host && seen["up"] == up)
        });
    }

    /// Waits until an attempt runs; on which host it does.
    #[track_caller]
    pub(crate) fn begun(&mut self, task: &str, attempt: u64) -> String {
        self.until(&format!("{task}/{attempt} begins"), |cluster| cluster.meeting.run(task, attempt).is_some());
        self.meeting.run(task, attempt).unwrap().host
    }

    /// Waits until an attempt's agent ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self, task: &str, attempt: u64) {
        let over = |run: Run| run.end.is_some();
        self.until(&format!("{task}/{attempt} ends"), |cluster| cluster.meeting.run(task, attempt).is_some_and(over));
    }

    /// Waits until every task is COMPLETED.
    #[track_caller]
    pub(crate) fn completed(&mut self) {
        self.until("every task is COMPLETED", |cluster| {
            let list = cluster.ask(&["task", "list"]);
            list["tasks"].as_array().unwrap().iter().all(|task| {
                assert_ne!(task["status"], "BLOCKED", "{task}");
                task["status"] == "COMPLETED" && task["delivered_at"].is_string()
            })
        });
    }

    /// How many attempts of a task were started.
    pub(crate) fn attempts(&self, task: &str) -> u64 {
        self.ask(&["task", "show", task])["task"]["attempts"].as_u64().unwrap()
    }

    /// The hub of `shop`, below the root.
    pub(crate) const HUB: &str = "taskmaster/projects/shop/hub.git";

    /// Is the commit of this attempt pinned?
    pub(crate) fn is_pinned(&self, task: &str, attempt: u64) -> bool {
        let name = format!("refs/devstack/attempts/{task}/{attempt}");
        !self.git(&["for-each-ref", &name], Self::HUB).is_empty()
    }
}

/// What it printed, if it succeeded.
#[track_caller]
fn done(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
