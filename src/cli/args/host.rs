//! Command lines of hosts.

use std::time::Duration;

use clap::Subcommand;

use super::{PinArgs, duration, named};

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
    /// Start attempts again on a host that is drained, or that owes the end of one
    Undrain {
        /// Its name
        #[arg(value_parser = named)]
        host: String,
    },
    /// Say what a host is held to, whatever it claims; what is not given stays as it is
    Set {
        /// Its name
        #[arg(value_parser = named)]
        host: String,
        #[command(flatten)]
        pins: PinArgs,
        /// It may get attempts of this role, and of those named so alone. Again for more
        #[arg(long, value_name = "ROLE", value_parser = named)]
        role: Vec<String>,
        /// It may get attempts of every role
        #[arg(long, conflicts_with = "role")]
        any_role: bool,
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
