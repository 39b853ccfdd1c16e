//! Command line of `host`.

use std::time::Duration;

use clap::Subcommand;

use super::{PinArgs, duration, named};

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// List hosts
    List,
    /// Show everything about a host
    Show {
        /// The host's name
        #[arg(value_parser = named)]
        host: String,
    },
    /// Start no more attempts on a host; running attempts finish
    Drain {
        /// The host's name
        #[arg(value_parser = named)]
        host: String,
        /// Stop attempts that still run after this long, for example 10m; they do not count against their tasks
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        deadline: Option<Duration>,
    },
    /// Start attempts again on a drained host, or on a host that never reported the end of an attempt
    Undrain {
        /// The host's name
        #[arg(value_parser = named)]
        host: String,
    },
    /// Restrict what a host may claim; options that are not given keep their value
    Set {
        /// The host's name
        #[arg(value_parser = named)]
        host: String,
        #[command(flatten)]
        pins: PinArgs,
        /// Restrict the host to attempts of this role. Repeat for more roles
        #[arg(long, value_name = "ROLE", value_parser = named)]
        role: Vec<String>,
        /// Allow attempts of every role
        #[arg(long, conflicts_with = "role")]
        any_role: bool,
    },
    /// Remove a host from the cluster and refuse its machine
    Remove {
        /// The host's name
        #[arg(value_parser = named)]
        host: String,
        /// Remove it even while it is connected and in use; other hosts take over its attempts
        #[arg(long)]
        force: bool,
    },
}
