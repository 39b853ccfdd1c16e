//! Command line of `dashboard`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DashboardCommand {
    /// Open the dashboard in your browser, and serve it until interrupted
    Open {
        /// Print the address without opening a browser
        #[arg(long)]
        no_browser: bool,
        /// The port on 127.0.0.1. Default: a free port
        #[arg(long, default_value = "0", hide_default_value = true, env = "DEVSTACK_DASHBOARD_PORT")]
        port: u16,
    },
    /// Write overview, board and graph as one self-contained HTML file
    Export {
        /// The file, replaced atomically; `-`: stdout
        file: PathBuf,
        /// Only this project
        #[arg(long, value_parser = super::named)]
        project: Option<String>,
    },
}
