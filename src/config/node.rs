//! `node.toml`: how a node runs. Every limit stands in [`settings!`] with its unit, default and the reason for
//! the number. Keys of what is not built yet are refused by name.
//! Deliberately absent: plans, and values of secrets.

use std::path::{Path, PathBuf};

use devstack_dag::ids::HostName;

use super::{
    problem::{Problem, Problems},
    section::{Reader, Table, code},
    units,
};
use crate::telemetry::Format;

/// How a node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// The host's name.
    pub name: HostName,
    /// Where everything durable is.
    pub state_dir: PathBuf,
    /// The API's unix socket.
    pub socket: PathBuf,
    /// Does this node run attempts?
    pub agent_host: AgentHostConfig,
    /// Log lines for people or for programs.
    pub log_format: Format,
    /// Sizes and times.
    pub limits: Limits,
}

/// How attempts are run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHostConfig {
    /// Room for so many attempts at once.
    pub slots: u32,
    /// What runs attempts.
    pub runtime: Runtime,
    /// The Docker engine's unix socket.
    pub docker: PathBuf,
    /// The subnet of the private bridge; `None`: a free one of devstack's own.
    pub subnet: Option<String>,
    /// Is bwrap used where it is there?
    pub sandbox: Sandbox,
}

/// What runs the attempts of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Containers.
    Docker,
    /// Processes of this machine.
    Process,
}

/// Where Docker listens if nobody says otherwise.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Is an attempt of the `process` runtime put into a sandbox?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// Where bwrap works; shown as "unsandboxed" where it does not.
    Auto,
    /// Never.
    Off,
}

/// One setting, for `config show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its table in the file.
    pub section: &'static str,
    /// Its key.
    pub key: &'static str,
    /// What the number counts.
    pub unit: Unit,
    /// Its value when the file says nothing.
    pub default: u64,
    /// Where the number comes from.
    pub why: &'static str,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Written as a duration, kept in milliseconds.
    Duration,
    /// Written as a size, kept in bytes.
    Size,
    /// A number of things.
    Count,
}

impl Unit {
    /// A value in the form in which it is written in the file.
    pub fn format(self, value: u64) -> String {
        match self {
            Self::Duration => units::format_duration(value),
            Self::Size => units::format_size(value),
            Self::Count => value.to_string(),
        }
    }
}

macro_rules! settings {
    ($($section:literal $key:ident: $unit:ident = $default:expr, $why:literal;)*) => {
        /// Every limit of a node; durations in milliseconds, sizes in bytes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $why] pub $key: u64,)*
        }

        /// The table behind [`Limits`].
        pub const SETTINGS: &[Setting] = &[$(Setting {
            section: $section, key: stringify!($key), unit: Unit::$unit, default: $default, why: $why,
        },)*];

        impl Default for Limits {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl Limits {
            /// The values in the order of [`SETTINGS`].
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$key,)*]
            }

            fn set(&mut self, section: &str, key: &str, value: u64) {
                $(if section == $section && key == stringify!($key) { self.$key = value; })*
            }
        }
    };
}

settings! {
    "limits" plan_size: Size = super::plan_file::PLAN_MAX, "largest plan: about 200,000 tasks of 300 bytes";
    "limits" bundle_size: Size = 1 << 30, "largest result of an attempt or a person: the largest common repositories, packed";
    "limits" request_timeout: Duration = 60_000, "longest time to answer a request that does not stream: a plan of 100,000 tasks takes 2 s";
    "limits" connections: Count = 256, "connections to the API at once: a dashboard holds 2, a command 1";
    "retention" facts: Count = 100_000, "facts kept for readers that resume: a day of 200 busy agents";
    "retention" attempts: Duration = 7 * 86_400_000, "refs and logs of attempts after their task ended: a week to look back";
}

const LATER: &str = "leave it out: this release runs one node";

impl NodeConfig {
    /// The node that `run`, `up` and `quickstart` embed: everything in one directory, nothing on the network.
    pub fn embedded(dir: &Path) -> Self {
        Self {
            name: default_name(),
            state_dir: dir.to_owned(),
            socket: dir.join("api.sock"),
            agent_host: AgentHostConfig {
                slots: default_slots(),
                runtime: Runtime::Docker,
                docker: DOCKER_SOCKET.into(),
                subnet: None,
                sandbox: Sandbox::Auto,
            },
            log_format: Format::Human,
            limits: Limits::default(),
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, or why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            Problem::new(code::UNREADABLE, format!("cannot read the configuration: {e}")).at(name.as_str(), None)
        })?;
        Self::parse(&name, &text)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of its lines.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::new(file, text);
        let mut config = Self::embedded(Path::new("/var/lib/devstack"));
        config.socket = PathBuf::from("/run/devstack/api.sock");
        if let Some(top) = reader.document() {
            config.read(&mut reader, top);
        }
        reader.finish()?;
        Ok(config)
    }

    fn read<'i>(&mut self, reader: &mut Reader<'i>, mut top: Table<'i>) {
        top.not_built(reader, &[("link", LATER), ("store", LATER)]);
        if let Some(mut table) = section(reader, &mut top, "node") {
            table.not_built(reader, &[("labels", LATER)]);
            if let Some(name) = table.text(reader, "name") {
                match HostName::new(&name.value) {
                    Ok(name) => self.name = name,
                    Err(e) => reader.add(name.at, code::BAD_VALUE, e.to_string(), None),
                }
            }
            if let Some(roles) = table.texts(reader, "roles") {
                let mut given: Vec<&str> = roles.value.iter().map(|role| &*role.value).collect();
                given.sort_unstable();
                if given != ["agent-host", "taskmaster"] {
                    let hint = "write roles = [\"taskmaster\", \"agent-host\"], or leave it out";
                    reader.add(
                        roles.at,
                        code::NOT_BUILT,
                        "nodes with other roles are not built yet",
                        Some(hint.to_owned()),
                    );
                }
            }
            absolute_path(reader, &mut table, "state_dir", &mut self.state_dir);
            table.finish(reader, &["name", "roles", "state_dir"]);
        }
        if let Some(mut table) = section(reader, &mut top, "api") {
            table.not_built(reader, &[("listen", LATER)]);
            absolute_path(reader, &mut table, "socket", &mut self.socket);
            table.finish(reader, &["socket"]);
        }
        if let Some(mut table) = section(reader, &mut top, "agent_host") {
            table.not_built(reader, &[("shards", LATER)]);
            let words = [("docker", Runtime::Docker), ("process", Runtime::Process)];
            self.agent_host.runtime =
                table.word(reader, "runtime", &words).map_or(self.agent_host.runtime, |v| v.value);
            docker_socket(reader, &mut table, &mut self.agent_host.docker);
            self.agent_host.subnet = subnet(reader, &mut table);
            self.agent_host.slots =
                table.integer(reader, "slots", 1, SLOTS_MAX).map_or(self.agent_host.slots, |v| v.value);
            let words = [("auto", Sandbox::Auto), ("off", Sandbox::Off)];
            self.agent_host.sandbox =
                table.word(reader, "sandbox", &words).map_or(self.agent_host.sandbox, |v| v.value);
            table.finish(reader, &["runtime", "docker", "subnet", "slots", "sandbox"]);
        }
        if let Some(mut table) = section(reader, &mut top, "telemetry") {
            let words = [("human", Format::Human), ("json", Format::Json)];
            self.log_format = table.word(reader, "format", &words).map_or(self.log_format, |v| v.value);
            table.finish(reader, &["format"]);
        }
        for name in ["limits", "retention"] {
            let Some(mut table) = section(reader, &mut top, name) else { continue };
            let of_section = || SETTINGS.iter().filter(|setting| setting.section == name);
            for setting in of_section() {
                if let Some(value) = limit(reader, &mut table, setting) {
                    self.limits.set(name, setting.key, value);
                }
            }
            table.finish(reader, &of_section().map(|setting| setting.key).collect::<Vec<_>>());
        }
        top.finish(reader, &["node", "api", "agent_host", "telemetry", "limits", "retention"]);
    }
}

/// The most slots of a host: the kernel's limit of ports on one bridge, which containers will need.
const SLOTS_MAX: u32 = 1000;

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

/// `unix:///path`, as Docker writes it.
fn docker_socket<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, socket: &mut PathBuf) {
    let Some(text) = table.text(reader, "docker") else { return };
    match text.value.strip_prefix("unix://").map(Path::new) {
        Some(path) if path.is_absolute() => *socket = path.to_owned(),
        _ => {
            let message = format!("`docker`{} is `{}`; only unix sockets are used", table.of(), text.value);
            let hint = format!("for example docker = \"unix://{DOCKER_SOCKET}\"");
            reader.add(text.at, code::BAD_VALUE, message, Some(hint));
        }
    }
}

/// An IPv4 network with room for a bridge and a few containers: `10.1.2.0/24`.
fn subnet<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<String> {
    let text = table.text(reader, "subnet")?;
    if is_subnet(&text.value) {
        return Some(text.value.into_owned());
    }
    let message = format!("`subnet`{} is `{}`, which is no IPv4 network", table.of(), text.value);
    let hint = "for example subnet = \"10.231.0.0/22\"; /16 to /28".to_owned();
    reader.add(text.at, code::BAD_VALUE, message, Some(hint));
    None
}

fn is_subnet(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(bits)) = (address.parse::<std::net::Ipv4Addr>(), bits.parse::<u32>()) else { return false };
    (16..=28).contains(&bits) && u32::from(address) & (u32::MAX >> bits) == 0
}

/// A limit of zero would refuse everything: at least one of its unit.
fn limit<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, setting: &Setting) -> Option<u64> {
    match setting.unit {
        Unit::Duration => table.duration(reader, setting.key, 1, 3650 * 86_400_000).map(|v| v.value),
        Unit::Size => table.size(reader, setting.key, 1).map(|v| v.value),
        Unit::Count => table.integer(reader, setting.key, 1, u32::MAX).map(|v| u64::from(v.value)),
    }
}

/// The machine's name with everything that a name may not have left out.
fn default_name() -> HostName {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let clean: String =
        name.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let clean: String = clean.trim_start_matches('-').chars().take(devstack_dag::ids::MAX_NAME).collect();
    #[expect(clippy::expect_used, reason = "a constant that is a valid name")]
    HostName::new(&clean).unwrap_or_else(|_| HostName::new("localhost").expect("a valid name"))
}

/// One slot per processor: an agent that builds and tests fills one.
fn default_slots() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)).min(SLOTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
[node]
name = "one"
roles = ["taskmaster", "agent-host"]
state_dir = "/var/lib/x"
[api]
socket = "/run/x.sock"
[agent_host]
runtime = "process"
docker = "unix:///run/user/1/docker.sock"
subnet = "10.9.0.0/24"
slots = 7
sandbox = "off"
[telemetry]
format = "json"
[limits]
plan_size = "1MiB"
request_timeout = "5s"
connections = 3
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
        assert_eq!(config.agent_host.docker, Path::new("/run/user/1/docker.sock"));
        assert_eq!(config.agent_host.subnet.as_deref(), Some("10.9.0.0/24"));
        assert_eq!(config.log_format, Format::Json);
        assert_eq!(config.limits.values(), [1 << 20, 1 << 30, 5_000, 3, 10, 3_600_000]);
    }

    #[test]
    fn an_empty_file_gives_the_defaults_of_the_table() {
        let config = NodeConfig::parse("node.toml", "").unwrap();
        let defaults: Vec<u64> = SETTINGS.iter().map(|setting| setting.default).collect();
        assert_eq!(config.limits.values(), defaults);
    }

    #[test]
    fn everything_wrong_is_told_with_its_line() {
        let text = "[node]\nnmae = 1\nstate_dir = \"rel\"\n[link]\nlisten = \"x\"\n[agent_host]\ndocker = \"tcp://x\"\nsubnet = \"10.0.0.1/24\"\nslots = 0\n[limits]\nplan_size = 5\nrequest_timeout = \"soon\"\n";
        let problems = NodeConfig::parse("node.toml", text).unwrap_err().to_string();
        assert_eq!(
            problems.lines().collect::<Vec<_>>(),
            [
                "node.toml:2: unknown key `nmae` of [node]",
                "node.toml:3: `state_dir` of [node] is `rel`; it must be an absolute path",
                "node.toml:4: `link` is not built yet",
                "node.toml:7: `docker` of [agent_host] is `tcp://x`; only unix sockets are used",
                "node.toml:8: `subnet` of [agent_host] is `10.0.0.1/24`, which is no IPv4 network",
                "node.toml:9: `slots` of [agent_host] is 0; it must be 1 to 1000",
                "node.toml:11: `plan_size` of [limits] must be a text, not a number",
                "node.toml:12: `request_timeout` of [limits]: `soon` is not a duration; write for example \"30m\", \"10s\", \"1h30m\" or \"500ms\"",
            ]
        );
    }
}
