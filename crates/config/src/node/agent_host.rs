//! `[agent_host]`: what runs attempts on this machine, how many run at once, and which roles it accepts.
//! Deliberately absent: values of secrets.

use std::path::{Path, PathBuf};

use devstack_dag::ids::RoleName;

use super::{
    super::section::{Reader, Table, code},
    ContainerLog,
};

/// How this machine runs attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHostConfig {
    /// The most attempts at once.
    pub slots: u32,
    /// What runs attempts.
    pub runtime: Runtime,
    /// The Docker engine's unix socket.
    pub docker: PathBuf,
    /// The private bridges, in the order in which they are filled; at least one.
    pub shards: Vec<Shard>,
    /// Private IPv4 networks that agents on a private bridge may reach, `10.1.2.0/24`.
    pub bridge_reach: Vec<String>,
    /// Whether a private bridge is used even if no firewall isolates its agents from this host and its networks.
    pub unguarded_bridge: bool,
    /// Roles whose attempts are accepted; empty: all.
    pub roles: Vec<RoleName>,
    /// What happens to attempts while the Taskmaster cannot be reached.
    pub on_disconnect: OnDisconnect,
    /// Whether bwrap is used if it is installed.
    pub sandbox: Sandbox,
    /// Where the output of containers goes.
    pub log: ContainerLog,
}

/// What runs the attempts of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Containers.
    Docker,
    /// Processes on this machine.
    Process,
}

/// The default socket of Docker.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Whether attempts of the `process` runtime run in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// If bwrap works; else they are shown as "unsandboxed".
    Auto,
    /// Never.
    Off,
}

/// A private bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name, for people and metrics.
    pub name: String,
    /// Its subnet; `None`: devstack chooses a free one.
    pub subnet: Option<String>,
    /// The most containers on it at once; when it is full, the next shard is used.
    pub capacity: u32,
}

impl Shard {
    /// Whether its configured subnet and `other` share an address.
    pub fn overlaps(&self, other: &str) -> bool {
        let range = |text: &str| addresses(text).map(|(first, bits)| (first, first | (u32::MAX >> bits)));
        match (self.subnet.as_deref().and_then(range), range(other)) {
            (Some((first, last)), Some((from, to))) => first <= to && from <= last,
            _ => false,
        }
    }
}

/// The default number of ports used on a bridge: few enough to keep broadcasts cheap.
pub const SHARD_CAPACITY: u32 = 200;
/// The highest capacity: a kernel bridge has 1,023 ports, and the cost of broadcasts grows with the ports.
pub const SHARD_CAPACITY_MAX: u32 = 1000;

/// What a host does with its attempts while it cannot reach the Taskmaster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// Attempts continue; their results are kept and delivered later.
    Continue,
    /// Attempts are stopped after `max_disconnect`, when the Taskmaster replaces them.
    Stop,
}

/// The most slots of a host: bounded by the kernel's limit of ports on one bridge.
const SLOTS_MAX: u32 = 1000;

/// One slot per processor: an agent that builds and tests uses one processor.
fn default_slots() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)).min(SLOTS_MAX)
}

impl Default for AgentHostConfig {
    fn default() -> Self {
        Self {
            slots: default_slots(),
            runtime: Runtime::Docker,
            docker: DOCKER_SOCKET.into(),
            shards: vec![Shard { name: "default".to_owned(), subnet: None, capacity: SHARD_CAPACITY }],
            bridge_reach: Vec::new(),
            unguarded_bridge: false,
            roles: Vec::new(),
            on_disconnect: OnDisconnect::Continue,
            sandbox: Sandbox::Auto,
            log: ContainerLog::default(),
        }
    }
}

impl AgentHostConfig {
    /// Reads the table.
    pub(super) fn read<'i>(&mut self, reader: &mut Reader<'i>, mut table: Table<'i>) {
        let words = [("docker", Runtime::Docker), ("process", Runtime::Process)];
        self.runtime = table.word(reader, "runtime", &words).map_or(self.runtime, |v| v.value);
        docker_socket(reader, &mut table, &mut self.docker);
        self.slots = table.integer(reader, "slots", 1, SLOTS_MAX).map_or(self.slots, |v| v.value);
        let words = [("auto", Sandbox::Auto), ("off", Sandbox::Off)];
        self.sandbox = table.word(reader, "sandbox", &words).map_or(self.sandbox, |v| v.value);
        let words = [("continue", OnDisconnect::Continue), ("stop", OnDisconnect::Stop)];
        self.on_disconnect = table.word(reader, "on_disconnect", &words).map_or(self.on_disconnect, |v| v.value);
        for role in table.texts(reader, "roles").into_iter().flat_map(|roles| roles.value) {
            match RoleName::new(&role.value) {
                Ok(role) => self.roles.push(role),
                Err(error) => reader.add(role.at, code::BAD_VALUE, error.to_string(), None),
            }
        }
        if let Some(shards) = shards(reader, &mut table) {
            self.shards = shards;
        }
        self.bridge_reach = reach(reader, &mut table);
        self.unguarded_bridge = table.boolean(reader, "unguarded_bridge").map_or(self.unguarded_bridge, |v| v.value);
        self.log.read(reader, &mut table);
        let known = ["runtime", "docker", "slots", "sandbox", "on_disconnect", "roles", "shards"];
        table
            .finish(reader, &[&known[..], &["bridge_reach", "unguarded_bridge", "log_driver", "log_options"]].concat());
    }
}

/// Reads `[{ name, subnet, capacity }]`; names and subnets must be unique.
fn shards<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Vec<Shard>> {
    let list = table.array(reader, "shards", "a list of tables")?;
    let mut shards: Vec<Shard> = Vec::new();
    for (index, raw) in list.value.into_iter().enumerate() {
        let Some(mut one) = reader.table(raw, format!("shard {}", index + 1)) else { continue };
        let name =
            one.text(reader, "name").map_or_else(|| format!("shard{}", index + 1), |name| name.value.into_owned());
        let subnet = subnet(reader, &mut one);
        let room = subnet.as_deref().and_then(addresses).map_or(SHARD_CAPACITY_MAX, |(_, bits)| room(bits));
        let capacity = one.integer(reader, "capacity", 1, SHARD_CAPACITY_MAX).map(|v| (v.value, v.at));
        if let Some((capacity, at)) = capacity.filter(|(capacity, _)| *capacity > room) {
            let message =
                format!("`capacity`{} is {capacity}, but its subnet has room for {room} containers", one.of());
            reader.add(at, code::BAD_VALUE, message, Some("lower the capacity, or use a larger subnet".to_owned()));
        }
        let capacity = capacity.map_or(SHARD_CAPACITY.min(room), |(capacity, _)| capacity);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            let message = format!("`name`{} is `{name}`; use 1 to 32 letters, digits, `-` and `_`", one.of());
            reader.add(one.at, code::BAD_VALUE, message, None);
        }
        let shares = |other: &Shard| subnet.as_deref().is_some_and(|subnet| other.overlaps(subnet));
        if shards.iter().any(|other| other.name == name || shares(other)) {
            let message = format!("the name or the subnet{} is also used by another shard", one.of());
            reader.add(one.at, code::BAD_VALUE, message, None);
        }
        one.finish(reader, &["name", "subnet", "capacity"]);
        shards.push(Shard { name, subnet, capacity });
    }
    if shards.is_empty() {
        reader.add(
            list.at,
            code::BAD_VALUE,
            format!("`shards`{} is empty", table.of()),
            Some("leave `shards` out to use one bridge".to_owned()),
        );
        return None;
    }
    Some(shards)
}

/// Reads a list of IPv4 networks or single addresses.
fn reach<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Vec<String> {
    let mut networks = Vec::new();
    let of = table.of();
    for text in table.texts(reader, "bridge_reach").into_iter().flat_map(|texts| texts.value) {
        if is_network(&text.value) {
            networks.push(text.value.into_owned());
            continue;
        }
        let message = format!("`bridge_reach`{of} has `{}`, which is not an IPv4 network", text.value);
        let hint = "for example bridge_reach = [\"10.1.2.0/24\"]".to_owned();
        reader.add(text.at, code::BAD_VALUE, message, Some(hint));
    }
    networks
}

/// Whether this is an IPv4 network (`10.1.2.0/24`) or a single address.
pub fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
    match (address.parse::<std::net::Ipv4Addr>(), bits.parse::<u32>()) {
        (Ok(address), Ok(bits @ 1..=31)) => u32::from(address) & (u32::MAX >> bits) == 0,
        (Ok(_), Ok(32)) => true,
        _ => false,
    }
}

/// Reads `unix:///path`, as Docker writes it.
fn docker_socket<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, socket: &mut PathBuf) {
    let Some(text) = table.text(reader, "docker") else { return };
    match text.value.strip_prefix("unix://").map(Path::new) {
        Some(path) if path.is_absolute() => *socket = path.to_owned(),
        _ => {
            let message = format!("`docker`{} is `{}`; only unix sockets are supported", table.of(), text.value);
            let hint = format!("for example docker = \"unix://{DOCKER_SOCKET}\"");
            reader.add(text.at, code::BAD_VALUE, message, Some(hint));
        }
    }
}

/// Reads an IPv4 network with room for a bridge and a few containers: `10.1.2.0/24`.
fn subnet<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<String> {
    let text = table.text(reader, "subnet")?;
    if addresses(&text.value).is_some() {
        return Some(text.value.into_owned());
    }
    let message = format!("`subnet`{} is `{}`, which is not an IPv4 network of /16 to /28", table.of(), text.value);
    let hint = "for example subnet = \"10.231.0.0/22\"".to_owned();
    reader.add(text.at, code::BAD_VALUE, message, Some(hint));
    None
}

/// The first address of a subnet and the bits of its prefix; `None`: a bridge cannot have this subnet.
fn addresses(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<std::net::Ipv4Addr>().ok()?, bits.parse().ok()?);
    let first = u32::from(address);
    ((16..=28).contains(&bits) && first & (u32::MAX >> bits) == 0).then_some((first, bits))
}

/// How many containers fit into a subnet: without its first and last address, and without the bridge's own.
fn room(bits: u32) -> u32 {
    (u32::MAX >> bits).saturating_sub(2).min(SHARD_CAPACITY_MAX)
}
