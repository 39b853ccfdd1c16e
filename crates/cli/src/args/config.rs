//! Command line of `config`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a node.toml and report all mistakes at once
    Check(ConfigFile),
    /// Print every setting of a node, and where its value comes from
    Show(ConfigFile),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConfigFile {
    /// The node's configuration
    #[arg(long, value_name = "PATH", default_value = "/etc/devstack/node.toml")]
    pub(crate) config: PathBuf,
}
