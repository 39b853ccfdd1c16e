//! `dashboard`: what it takes.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DashboardCommand {
    /// Open the dashboard in your browser, until it is interrupted
    Open {
        /// Print the address and open nothing
        #[arg(long)]
        no_browser: bool,
        /// Where to listen on 127.0.0.1. Default: a free port
        #[arg(long, default_value = "0", hide_default_value = true, env = "DEVSTACK_DASHBOARD_PORT")]
        port: u16,
    },
    /// Write overview, board and graph as one HTML file that needs nothing else
    Export {
        /// The file, replaced whole; `-`: stdout
        file: PathBuf,
        /// Only this project
        #[arg(long, value_parser = super::named)]
        project: Option<String>,
    },
}
