//! Command lines of hosts.

use std::time::Duration;

use clap::Subcommand;

use super::{duration, named};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HostCommand {
    /// List hosts
    List,
    /// Everything about a host
    Show {
        /// Its name
        #[arg(value_parser = named)]
        host: String,
    },
    /// Start no more attempts on a host; those that run there finish
    Drain {
        /// Its name
        #[arg(value_parser = named)]
        host: String,
        /// Stop what still runs there after this long, uncharged, for example 10m
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        deadline: Option<Duration>,
    },
    /// Start attempts on a drained host again
    Undrain {
        /// Its name
        #[arg(value_parser = named)]
        host: String,
    },
    /// Forget a host and refuse its machine
    Remove {
        /// Its name
        #[arg(value_parser = named)]
        host: String,
        /// Also while it is there and in use: its attempts are given to others
        #[arg(long)]
        force: bool,
    },
}
