//! Command lines of the node's configuration.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Check a node.toml; all its mistakes at once
    Check(ConfigFile),
    /// Print every value that a node runs with, and where it comes from
    Show(ConfigFile),
}

#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct ConfigFile {
    /// The node's configuration
    #[arg(long, value_name = "PATH", default_value = "/etc/devstack/node.toml")]
    pub(in crate::cli) config: PathBuf,
}
