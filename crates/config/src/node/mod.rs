//! `node.toml`: the configuration of a node. `limits` has every limit with its unit, its default and the reason for the
//! number. Keys of features that are not built yet are refused by name.
//! Deliberately absent: plans, and values of secrets.

mod agent_host;
mod container_log;
mod dashboard;
mod limits;
mod link;
mod outside;
mod reach;
mod show;
mod taskmaster;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use agent_host::{
    AgentHostConfig, DOCKER_SOCKET, OnDisconnect, Runtime, SHARD_CAPACITY, SHARD_CAPACITY_MAX, Sandbox, Shard,
    is_network,
};
pub use container_log::{ContainerLog, LogDriver};
pub use dashboard::DashboardConfig;
use devstack_dag::ids::HostName;
pub use limits::{Limits, SETTINGS, Setting, Unit};
pub use link::LinkConfig;
pub use outside::{TelemetryConfig, WebhookConfig};
pub use reach::{Founder, STATE_DIR, joiner};
pub use show::{Shown, show};
pub use taskmaster::{RemoteCredential, TaskmasterConfig};

use super::{
    problem::{Problem, Problems},
    section::{Reader, Table, code},
};

/// How a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The host's name.
    pub name: HostName,
    /// What the node does.
    pub roles: Roles,
    /// Labels of the machine, for placement: `gpu = "a100"`.
    pub labels: BTreeMap<String, String>,
    /// The directory of all durable state.
    pub state_dir: PathBuf,
    /// The API's unix socket.
    pub socket: PathBuf,
    /// The address of the API on TCP; `None`: only the socket.
    pub api_listen: Option<SocketAddr>,
    /// Links to other nodes.
    pub link: LinkConfig,
    /// Which repositories plans may name, if the node is a Taskmaster.
    pub taskmaster: TaskmasterConfig,
    /// How this machine runs attempts, if it does.
    pub agent_host: AgentHostConfig,
    /// The dashboard as a file.
    pub dashboard: DashboardConfig,
    /// The log, and traces.
    pub telemetry: TelemetryConfig,
    /// Who is notified when something waits for a person; `None`: nobody.
    pub webhook: Option<WebhookConfig>,
    /// Sizes and times.
    pub limits: Limits,
}

/// What a node does; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Holds the DAG, the store and the hubs.
    pub taskmaster: bool,
    /// Runs attempts.
    pub agent_host: bool,
}

impl NodeConfig {
    /// The configuration of the node that `run`, `up` and `quickstart` embed: everything is in one directory, nothing
    /// is on the network, and the node is the user's own process.
    pub fn embedded(dir: &Path) -> Self {
        let limits = Limits::default();
        Self {
            name: default_name(),
            roles: Roles { taskmaster: true, agent_host: true },
            labels: BTreeMap::new(),
            state_dir: dir.to_owned(),
            socket: dir.join("api.sock"),
            api_listen: None,
            link: LinkConfig::default(),
            taskmaster: TaskmasterConfig { is_persons_own: true, ..TaskmasterConfig::default() },
            agent_host: AgentHostConfig::default(),
            dashboard: DashboardConfig::default(),
            telemetry: TelemetryConfig::default(),
            webhook: None,
            // Only this user connects.
            limits: Limits { user_connections: limits.connections, ..limits },
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// All mistakes, or why the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let (name, text) = read(path)?;
        Self::parse(&name, &text)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// All mistakes, in the order of their lines.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::new(file, text);
        let mut config = Self::embedded(Path::new(STATE_DIR));
        config.socket = PathBuf::from("/run/devstack/api.sock");
        (config.taskmaster, config.limits) = (TaskmasterConfig::default(), Limits::default());
        if let Some(top) = reader.document() {
            config.read(&mut reader, top);
        }
        reader.finish()?;
        Ok(config)
    }

    fn read<'i>(&mut self, reader: &mut Reader<'i>, mut top: Table<'i>) {
        top.not_built(reader, &[("store", "remove it: the store has no settings yet")]);
        let roles_at = section(reader, &mut top, "node").and_then(|table| self.read_node(reader, table));
        if let Some(mut table) = section(reader, &mut top, "api") {
            self.api_listen = link::socket_addr(reader, &mut table, "listen");
            absolute_path(reader, &mut table, "socket", &mut self.socket);
            table.finish(reader, &["listen", "socket"]);
        }
        if let Some(table) = section(reader, &mut top, "link") {
            self.link.read(reader, table);
        }
        if let Some(table) = section(reader, &mut top, "taskmaster") {
            self.taskmaster.read(reader, table);
        }
        if let Some(table) = section(reader, &mut top, "agent_host") {
            self.agent_host.read(reader, table);
        }
        if let Some(table) = section(reader, &mut top, "dashboard") {
            self.dashboard.read(reader, table);
        }
        if !self.roles.taskmaster && self.link.join.is_empty() {
            let message =
                "a node without the role taskmaster needs the address of a Taskmaster: `join` of [link] is missing";
            let hint =
                "run `devstack-node join TOKEN`, or write [link] join = [\"taskmaster.example:7420\"]".to_owned();
            reader.add(roles_at.unwrap_or_default(), code::MISSING, message, Some(hint));
        }
        if let Some(table) = section(reader, &mut top, "telemetry") {
            self.telemetry.read(reader, table);
        }
        if let Some(table) = section(reader, &mut top, "webhook") {
            self.webhook = WebhookConfig::read(reader, table);
        }
        for name in ["limits", "retention"] {
            let Some(mut table) = section(reader, &mut top, name) else { continue };
            let of_section = || SETTINGS.iter().filter(|setting| setting.section == name);
            for setting in of_section() {
                if let Some(value) = limits::limit(reader, &mut table, setting) {
                    self.limits.set(name, setting.key, value);
                }
            }
            table.finish(reader, &of_section().map(|setting| setting.key).collect::<Vec<_>>());
        }
        top.finish(
            reader,
            &[
                "node",
                "api",
                "link",
                "taskmaster",
                "agent_host",
                "dashboard",
                "telemetry",
                "webhook",
                "limits",
                "retention",
            ],
        );
    }
}

impl NodeConfig {
    /// Reads `[node]`; returns the position of `roles`.
    fn read_node<'i>(&mut self, reader: &mut Reader<'i>, mut table: Table<'i>) -> Option<usize> {
        if let Some(name) = table.text(reader, "name") {
            match HostName::new(&name.value) {
                Ok(name) => self.name = name,
                Err(e) => reader.add(name.at, code::BAD_VALUE, e.to_string(), None),
            }
        }
        let roles = table.texts(reader, "roles");
        let roles_at = roles.as_ref().map(|roles| roles.at);
        if let Some(roles) = roles {
            self.roles = Roles { taskmaster: false, agent_host: false };
            for role in &roles.value {
                match &*role.value {
                    "taskmaster" => self.roles.taskmaster = true,
                    "agent-host" => self.roles.agent_host = true,
                    other => {
                        let message = format!("`{other}` is not a role of a node");
                        let hint = "roles are \"taskmaster\" and \"agent-host\"".to_owned();
                        reader.add(role.at, code::BAD_VALUE, message, Some(hint));
                    }
                }
            }
            if roles.value.is_empty() {
                reader.add(roles.at, code::BAD_VALUE, "`roles` of [node] is empty: the node would do nothing", None);
            }
        }
        if let Some(field) = table.take(reader, "labels")
            && let Some(labels) = reader.table(field.value, "`labels` of [node]")
        {
            self.labels = super::labels::read(reader, labels);
        }
        absolute_path(reader, &mut table, "state_dir", &mut self.state_dir);
        table.finish(reader, &["name", "roles", "labels", "state_dir"]);
        roles_at
    }
}

/// Reads a file; returns its name for messages, and its text.
fn read(path: &Path) -> Result<(String, String), Problem> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Problem::new(code::UNREADABLE, format!("cannot read the configuration: {error}"))
            .hint("name another file with --config")
            .at(name, None)),
    }
}

fn section<'i>(reader: &mut Reader<'i>, top: &mut Table<'i>, name: &str) -> Option<Table<'i>> {
    let field = top.take(reader, name)?;
    reader.table(field.value, format!("[{name}]"))
}

fn absolute_path<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, key: &str, path: &mut PathBuf) {
    let Some(text) = table.text(reader, key) else { return };
    if Path::new(&*text.value).is_absolute() {
        *path = PathBuf::from(&*text.value);
        return;
    }
    let message = format!("`{key}`{} is `{}`; it must be an absolute path", table.of(), text.value);
    reader.add(text.at, code::BAD_VALUE, message, None);
}

/// The machine's name, without the characters that a node's name may not have.
fn default_name() -> HostName {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let clean: String =
        name.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let clean: String = clean.trim_start_matches('-').chars().take(devstack_dag::ids::MAX_NAME).collect();
    #[expect(clippy::expect_used, reason = "a constant that is a valid name")]
    HostName::new(&clean).unwrap_or_else(|_| HostName::new("localhost").expect("a valid name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use devstack_telemetry::{Format, Target};

    pub(super) const FULL: &str = r#"
[node]
name = "one"
roles = ["agent-host"]
labels = { gpu = "a100", zone = "eu" }
state_dir = "/var/lib/x"
[api]
listen = "[::1]:7421"
socket = "/run/x.sock"
[link]
listen = "0.0.0.0:7420"
advertise = "one.example"
join = ["two.example:7420", "[::1]:9"]
[taskmaster]
sources = ["/srv/git"]
remotes = ["https://github.com/acme/*", "ssh://git.corp.example:2222/*"]
credentials = [{ remote = "https://github.com/acme/*", user = "bot", file = "/etc/x/token" }]
[agent_host]
roles = ["dev"]
on_disconnect = "stop"
shards = [{ name = "a", subnet = "10.9.0.0/24" }, { capacity = 1000 }]
runtime = "process"
docker = "unix:///run/user/1/docker.sock"
slots = 7
sandbox = "off"
log_driver = "gelf"
log_options = { gelf-address = "udp://127.0.0.1:12201", tag = "t" }
[dashboard]
export = "/srv/www/devstack.html"
export_interval = "1m"
[telemetry]
format = "json"
target = "journald"
filter = "devstack=debug"
otlp_endpoint = "http://127.0.0.1:4318/v1/traces"
ca_file = "/etc/x/ca.pem"
[webhook]
url = "https://hooks.example/T0?x=1"
secret_file = "/etc/x/secret"
ca_file = "/etc/x/hooks.pem"
events = ["waiting"]
[limits]
plan_size = "1MiB"
result_paths = 70_000
request_timeout = "5s"
connections = 3
max_disconnect = "1m"
long_disconnect = "20m"
disk_reserve = "512MiB"
[retention]
facts = 10
attempts = "1h"
"#;

    #[test]
    fn every_key_is_read() {
        let config = NodeConfig::parse("node.toml", FULL).unwrap();
        assert_eq!((config.name.as_str(), config.agent_host.slots), ("one", 7));
        assert_eq!(config.state_dir, Path::new("/var/lib/x"));
        assert_eq!(config.socket, Path::new("/run/x.sock"));
        assert_eq!(config.agent_host.sandbox, Sandbox::Off);
        assert_eq!(config.agent_host.runtime, Runtime::Process);
        assert_eq!((config.agent_host.log.driver, &*config.agent_host.log.options["tag"]), (LogDriver::Gelf, "t"));
        assert_eq!(config.agent_host.docker, Path::new("/run/user/1/docker.sock"));
        assert_eq!(config.roles, Roles { taskmaster: false, agent_host: true });
        assert_eq!(config.labels["gpu"], "a100");
        assert_eq!(config.api_listen, Some("[::1]:7421".parse().unwrap()));
        assert_eq!(config.link.listen, Some("0.0.0.0:7420".parse().unwrap()));
        assert_eq!(config.link.advertise.as_deref(), Some("one.example"));
        assert_eq!(config.link.join, ["two.example:7420", "[::1]:9"]);
        let taskmaster = &config.taskmaster;
        assert_eq!((&*taskmaster.sources, taskmaster.is_persons_own), (&["/srv/git".into()][..], false));
        let remotes: Vec<&str> = taskmaster.remotes.iter().map(|remote| remote.as_str()).collect();
        assert_eq!(remotes, ["https://github.com/acme/*", "ssh://git.corp.example:2222/*"]);
        let credential = &taskmaster.credentials[0];
        assert_eq!((&*credential.user, &*credential.file), ("bot", Path::new("/etc/x/token")));
        let host = &config.agent_host;
        assert_eq!((host.roles[0].as_str(), host.on_disconnect), ("dev", OnDisconnect::Stop));
        let shard = |name: &str, subnet: Option<&str>, capacity| Shard {
            name: name.to_owned(),
            subnet: subnet.map(str::to_owned),
            capacity,
        };
        assert_eq!(host.shards, [shard("a", Some("10.9.0.0/24"), SHARD_CAPACITY), shard("shard2", None, 1000)]);
        let export = DashboardConfig { export: Some("/srv/www/devstack.html".into()), export_interval: 60_000 };
        assert_eq!(config.dashboard, export);
        let telemetry = &config.telemetry;
        assert_eq!((telemetry.format, telemetry.target), (Format::Json, Target::Journald));
        assert_eq!(telemetry.filter, "devstack=debug");
        assert_eq!(telemetry.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        let webhook = config.webhook.as_ref().unwrap();
        assert_eq!(webhook.secret_file.as_deref(), Some(Path::new("/etc/x/secret")));
        assert_eq!(
            config.limits.values(),
            [
                1 << 20,
                1 << 30,
                70_000,
                8 << 30,
                200,
                1024,
                10_800_000,
                5_000,
                3,
                32,
                16,
                32,
                64,
                8,
                15_000,
                30_000,
                8_000,
                60_000,
                1_200_000,
                512 << 20,
                16 << 30,
                8 << 30,
                2,
                900_000,
                7_200_000,
                64 << 20,
                16,
                7_200_000,
                86_400_000,
                2_000,
                500,
                192,
                10_000,
                12,
                10_000,
                10,
                3_600_000,
                64 << 20
            ]
        );
    }

    #[test]
    fn an_empty_file_gives_the_defaults_of_the_table() {
        let config = NodeConfig::parse("node.toml", "").unwrap();
        let defaults: Vec<u64> = SETTINGS.iter().map(|setting| setting.default).collect();
        assert_eq!(config.limits.values(), defaults);
    }

    #[test]
    fn everything_wrong_is_told_with_its_line() {
        let text = "[node]\nnmae = 1\nstate_dir = \"rel\"\n[link]\nlisten = \"x\"\n[agent_host]\ndocker = \"tcp://x\"\nshards = [{ subnet = \"10.0.0.1/24\", capacity = 1001 }]\nslots = 0\n[limits]\nplan_size = 5\nrequest_timeout = \"soon\"\n";
        let problems = NodeConfig::parse("node.toml", text).unwrap_err().to_string();
        assert_eq!(
            problems.lines().collect::<Vec<_>>(),
            [
                "node.toml:2: unknown key `nmae` of [node]",
                "node.toml:3: `state_dir` of [node] is `rel`; it must be an absolute path",
                "node.toml:5: `listen` of [link] is `x`, which is not an address with a port",
                "node.toml:7: `docker` of [agent_host] is `tcp://x`; only unix sockets are supported",
                "node.toml:8: `subnet` of shard 1 is `10.0.0.1/24`, which is not an IPv4 network of /16 to /28",
                "node.toml:8: `capacity` of shard 1 is 1001; it must be 1 to 1000",
                "node.toml:9: `slots` of [agent_host] is 0; it must be 1 to 1000",
                "node.toml:11: `plan_size` of [limits] must be a string, not a number",
                "node.toml:12: `request_timeout` of [limits]: `soon` is not a duration; write for example \"30m\", \"10s\", \"1h30m\" or \"500ms\"",
            ]
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refused = |text: &str| NodeConfig::parse("n", text).unwrap_err().to_string();
        assert!(refused("[node]\nroles = [\"agent-host\"]\n").starts_with("n:2: a node without the role taskmaster"));
        assert!(refused("[node]\nroles = []\n").contains("is empty"));
        assert!(refused("[node]\nroles = [\"boss\"]\n").contains("`boss` is not a role"));
        assert!(refused("[node]\nlabels = { a = 1 }\n").contains("`a` in `labels` of [node] is not a label"));
        assert!(refused("[link]\njoin = [\"host\"]\n").contains("not HOST:PORT"));
        assert!(refused("[link]\nadvertise = \"host:1\"\n").contains("not a host name or an address"));
        assert!(refused("[webhook]\nsecret_file = \"/x\"\n").contains("`url` of [webhook] is missing"));
        assert!(refused("[webhook]\nurl = \"https://me:pass@x/\"\n").contains("end up in logs"));
        assert!(refused("[webhook]\nurl = \"http://x/\"\nevents = [\"done\"]\n").contains("not an event"));
        assert!(refused("[taskmaster]\nsources = [\"srv\"]\n").contains("an absolute path"));
        assert!(refused("[taskmaster]\nsources = [\"/\"]\n").contains("below `/`"));
        assert!(
            refused("[taskmaster]\nremotes = [\"github.com/acme\"]\n").contains("a pattern must begin with https://")
        );
        let keyless = "[taskmaster]\ncredentials = [{ remote = \"https://x/*\" }]\n";
        assert!(refused(keyless).contains("credential 1 needs `remote` and `file`"));
        assert!(refused("[agent_host]\nshards = []\n").contains("is empty"));
        let twice = "[agent_host]\nshards = [{ name = \"a\" }, { name = \"a\" }]\n";
        assert!(refused(twice).contains("by another shard"));
        let within = "[agent_host]\nshards = [{ subnet = \"10.9.0.0/16\" }, { subnet = \"10.9.4.0/24\" }]\n";
        assert!(refused(within).contains("by another shard"));
        let crowded = "[agent_host]\nshards = [{ subnet = \"10.9.0.0/28\", capacity = 14 }]\n";
        assert!(refused(crowded).contains("room for 13 containers"));
    }
}
