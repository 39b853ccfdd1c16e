//! How others reach this node, and the first configuration of a machine.
//! Deliberately absent: name resolution. The machine that connects resolves the name.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::Path,
};

use devstack_dag::ids::HostName;

use super::NodeConfig;

/// The default state directory.
pub const STATE_DIR: &str = "/var/lib/devstack";

impl NodeConfig {
    /// The name or address under which other machines reach this one: `advertise`, else the machine's own name.
    pub fn reached_by(&self) -> String {
        let own = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        self.link.advertise.clone().or_else(own).unwrap_or_else(|| "localhost".to_owned())
    }

    /// Where other machines reach the API, `HOST:PORT`; `None`: the API does not listen on TCP.
    pub fn api_address(&self) -> Option<String> {
        self.api_listen.map(|listen| address(&self.reached_by(), listen))
    }

    /// Where agent hosts connect, `HOST:PORT`; `None`: no links are accepted.
    pub fn link_address(&self) -> Option<String> {
        self.link.listen.map(|listen| address(&self.reached_by(), listen))
    }

    /// Names and addresses in this node's certificate, apart from its own name.
    pub fn certificate_names(&self) -> Vec<String> {
        let mut names = vec![self.reached_by()];
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        for listen in [self.api_listen, self.link.listen].into_iter().flatten() {
            if !listen.ip().is_unspecified() {
                names.push(listen.ip().to_string());
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

/// `HOST:PORT` with the port of a listener; brackets around an IPv6 address.
fn address(host: &str, listen: SocketAddr) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(host) => format!("[{host}]:{}", listen.port()),
        Err(_) => format!("{host}:{}", listen.port()),
    }
}

/// The machine that creates a cluster. Its configuration contains its name: the certificate has this name, even if the
/// machine is renamed later.
#[derive(Debug)]
pub struct Founder<'a> {
    /// The node's name.
    pub name: &'a HostName,
    /// The directory of all durable state.
    pub state_dir: &'a Path,
    /// The name or address under which others reach the machine.
    pub advertise: Option<&'a str>,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where agent hosts connect.
    pub link: SocketAddr,
    /// Whether the machine also runs attempts.
    pub agents: bool,
}

impl Founder<'_> {
    /// Its `node.toml`.
    pub fn config(&self) -> String {
        let advertise = self.advertise.map(|host| format!("advertise = {}\n", quoted(host))).unwrap_or_default();
        let roles = if self.agents { r#"["taskmaster", "agent-host"]"# } else { r#"["taskmaster"]"# };
        format!(
            "# Written by `devstack cluster init`; check changes with `devstack-node check`.\n\
             [node]\nname = {}\nroles = {roles}\nstate_dir = {}\n\n\
             [api]\nlisten = \"{}\"\n{}\n[link]\nlisten = \"{}\"\n{advertise}",
            quoted(self.name.as_str()),
            path(self.state_dir),
            self.api,
            socket(self.state_dir),
            self.link,
        )
    }
}

/// The `node.toml` of a machine that joins a cluster as an agent host.
pub fn joiner(name: &str, state_dir: &Path, taskmaster: &str) -> String {
    let api = match socket(state_dir) {
        socket if socket.is_empty() => socket,
        socket => format!("[api]\n{socket}\n"),
    };
    format!(
        "# Written by `devstack-node join`; check changes with `devstack-node check`.\n\
         [node]\nname = {}\nroles = [\"agent-host\"]\nstate_dir = {}\n\n{api}[link]\njoin = [{}]\n",
        quoted(name),
        path(state_dir),
        quoted(taskmaster),
    )
}

/// The `socket` line. A node with its own state directory has its socket there, so that two nodes never share one.
fn socket(state_dir: &Path) -> String {
    if state_dir == Path::new(STATE_DIR) {
        return String::new();
    }
    format!("socket = {}\n", path(&state_dir.join("api.sock")))
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let name = HostName::new("master").unwrap();
        let (api, link) = ("0.0.0.0:7421".parse().unwrap(), "10.0.0.1:7420".parse().unwrap());
        let state_dir = Path::new("/srv/dev \"stack\"");
        let founder = Founder { name: &name, state_dir, advertise: Some("fd00::1"), api, link, agents: true };
        let config = NodeConfig::parse("node.toml", &founder.config()).unwrap();
        assert!(config.roles.taskmaster && config.roles.agent_host);
        assert_eq!(config.name, name);
        assert_eq!(config.state_dir, Path::new("/srv/dev \"stack\""));
        assert_eq!(config.socket, Path::new("/srv/dev \"stack\"/api.sock"));
        assert_eq!(config.api_address().as_deref(), Some("[fd00::1]:7421"));
        assert_eq!(config.link_address().as_deref(), Some("[fd00::1]:7420"));
        assert_eq!(config.certificate_names(), ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "localhost"]);
        let plain = Founder { state_dir: Path::new(STATE_DIR), advertise: None, agents: false, ..founder };
        let plain = NodeConfig::parse("node.toml", &plain.config()).unwrap();
        assert!(plain.roles.taskmaster && !plain.roles.agent_host);
        assert_eq!(plain.socket, Path::new("/run/devstack/api.sock"));
        let joined = joiner("node-1", Path::new("/srv/d"), "master:7420");
        let joined = NodeConfig::parse("node.toml", &joined).unwrap();
        assert_eq!((joined.name.as_str(), joined.roles.taskmaster, joined.roles.agent_host), ("node-1", false, true));
        assert_eq!((joined.link.join, joined.api_listen), (vec!["master:7420".to_owned()], None));
        NodeConfig::parse("node.toml", &super::joiner("a", Path::new(STATE_DIR), "h:1")).unwrap();
    }
}
