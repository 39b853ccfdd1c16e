//! Command line of `cluster` and `token`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Subcommand};

use super::{PinArgs, duration, named};
use devstack_members::Role;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Make this machine the Taskmaster of a new cluster
    Init(InitArgs),
    /// Show the cluster and its members
    Status,
    /// Back up all state of a Taskmaster that cannot be recreated into one file; the node may keep running
    Backup(BackupArgs),
    /// Restore a state directory from a backup; then start the node
    Restore(RestoreArgs),
    /// Show the log of changes, newest first: who requested what, and the result
    Audit(AuditArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BackupArgs {
    /// The new file, or a directory for a file named after the current time; `-`: stdout
    #[arg(value_name = "FILE|DIR")]
    pub(crate) to: PathBuf,
    /// The state directory of a stopped node. Default: back up the running node
    #[arg(long, value_name = "DIR", conflicts_with_all = ["address", "context"])]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RestoreArgs {
    /// The backup; `-`: stdin
    pub(crate) file: PathBuf,
    /// The state directory; it must be new or empty
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) state_dir: PathBuf,
    /// Make a copy that can run beside the original: with its own installation label, without the cluster's keys
    #[arg(long)]
    pub(crate) copy: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AuditArgs {
    /// Only changes by the token or node with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) who: Option<String>,
    /// Only refused changes
    #[arg(long)]
    pub(crate) refused: bool,
    /// The highest number of changes to show, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "all")]
    pub(crate) limit: u16,
    /// All kept changes
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InitArgs {
    /// The name of the cluster
    #[arg(long, default_value = "devstack")]
    pub(crate) name: String,
    /// The name or address, without a port, under which other machines reach this one. Default: its host name
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// The node's configuration; written if missing
    #[arg(long, default_value = "/etc/devstack/node.toml")]
    pub(crate) config: PathBuf,
    /// The node's state directory. Default: the one in the configuration
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where the API listens; only for a configuration that this command writes
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7421")]
    pub(crate) api_listen: SocketAddr,
    /// Where agent hosts connect; only for a configuration that this command writes
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7420")]
    pub(crate) link_listen: SocketAddr,
    /// Run no attempts on this machine: it only keeps plans, the store and the hub repositories
    #[arg(long)]
    pub(crate) no_agents: bool,
    /// How long certificates are valid; they are renewed after two thirds of this time
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30d")]
    pub(crate) certificate_life: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token; it is shown only once
    Create {
        /// What the token allows
        #[arg(long, value_parser = role)]
        role: Role,
        /// The owner or the purpose of the token
        #[arg(long)]
        name: Option<String>,
        /// How long the token is valid. Default: 24h for agent hosts, 90d for people
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// For agent hosts: restrict the machine to attempts of this role. Repeat for more roles
        #[arg(long, value_name = "ROLE", value_parser = named)]
        for_role: Vec<String>,
        #[command(flatten)]
        pins: PinArgs,
    },
    /// List tokens, without their secrets
    List,
    /// Revoke a token
    Revoke {
        /// The token's id or name
        #[arg(value_parser = named)]
        token: String,
    },
}

/// `viewer`, `operator`, `admin` or `agent-host`.
fn role(text: &str) -> Result<Role, String> {
    let known = || Role::ALL.map(Role::as_str).join(", ");
    Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| format!("it must be one of {}", known()))
}
