//! Command lines of clusters and tokens.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Subcommand};

use super::{PinArgs, duration, named};
use crate::members::Role;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClusterCommand {
    /// Make this machine the Taskmaster of a new cluster
    Init(InitArgs),
    /// Show the cluster and its members
    Status,
    /// Write everything of a Taskmaster that cannot be made again into one file, also while it works
    Backup(BackupArgs),
    /// Make a state directory from a backup; then start the node
    Restore(RestoreArgs),
    /// Show the log of changes, the newest first: who asked for what, and how it ended
    Audit(AuditArgs),
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct BackupArgs {
    /// The new file, or a directory for one named after the moment; `-`: stdout
    #[arg(value_name = "FILE|DIR")]
    pub(in crate::cli) to: PathBuf,
    /// The state directory of a node that is stopped. Default: ask the one that runs
    #[arg(long, value_name = "DIR", conflicts_with_all = ["address", "context"])]
    pub(in crate::cli) state_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct RestoreArgs {
    /// The backup; `-`: stdin
    pub(in crate::cli) file: PathBuf,
    /// The state directory: a new or an empty one
    #[arg(long, value_name = "DIR", required = true)]
    pub(in crate::cli) state_dir: PathBuf,
    /// To live beside the original: with an installation label of its own, without the cluster's keys
    #[arg(long)]
    pub(in crate::cli) copy: bool,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct AuditArgs {
    /// Only of the token or node with this name
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) who: Option<String>,
    /// Only what was refused
    #[arg(long)]
    pub(in crate::cli) refused: bool,
    /// At most so many, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "all")]
    pub(in crate::cli) limit: u16,
    /// All that is kept
    #[arg(long)]
    pub(in crate::cli) all: bool,
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct InitArgs {
    /// What to call the cluster
    #[arg(long, default_value = "devstack")]
    pub(in crate::cli) name: String,
    /// The name or address, without a port, by which other machines reach this one. Default: its host name
    #[arg(long, value_name = "HOST")]
    pub(in crate::cli) advertise: Option<String>,
    /// The node's configuration; written if it is not there
    #[arg(long, default_value = "/etc/devstack/node.toml")]
    pub(in crate::cli) config: PathBuf,
    /// The node's state directory. Default: what the configuration says
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) state_dir: Option<PathBuf>,
    /// Where the API listens, in a configuration that is written
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7421")]
    pub(in crate::cli) api_listen: SocketAddr,
    /// Where agent hosts dial, in a configuration that is written
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7420")]
    pub(in crate::cli) link_listen: SocketAddr,
    /// This machine runs no attempts: it holds plans, store and hubs alone
    #[arg(long)]
    pub(in crate::cli) no_agents: bool,
    /// How long certificates are valid; they are renewed at two thirds of it
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30d")]
    pub(in crate::cli) certificate_life: Duration,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Make a token; it is shown this once
    Create {
        /// What it allows
        #[arg(long, value_parser = role)]
        role: Role,
        /// Whose it is, or what for
        #[arg(long)]
        name: Option<String>,
        /// How long it lives. Default: 24h for agent hosts, 90d for people
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// For agent hosts: the machine may get attempts of this role, and of those named so alone. Again for more
        #[arg(long, value_name = "ROLE", value_parser = named)]
        for_role: Vec<String>,
        #[command(flatten)]
        pins: PinArgs,
    },
    /// List tokens, without their secrets
    List,
    /// End a token
    Revoke {
        /// Its id, or its name
        #[arg(value_parser = named)]
        token: String,
    },
}

/// `viewer`, `operator`, `admin` or `agent-host`.
fn role(text: &str) -> Result<Role, String> {
    let known = || Role::ALL.map(Role::as_str).join(", ");
    Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| format!("it must be one of {}", known()))
}
