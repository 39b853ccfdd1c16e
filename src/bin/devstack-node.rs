//! The daemon: a node from a configuration file, until it is told to stop.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use devstack::{
    config::{node::NodeConfig, secrets::Secrets},
    gateway,
    node::{Mode, Node},
    telemetry,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// The daemon of devstack.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration file
    #[arg(long, default_value = "/etc/devstack/node.toml", global = true)]
    config: PathBuf,
    /// End running attempts at the end, instead of leaving them to the next start
    #[arg(long)]
    stop_attempts: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and do nothing else
    Check,
}

fn main() -> ExitCode {
    devstack::allocator::bound();
    let args = Args::parse();
    let config = match NodeConfig::load(&args.config) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    if matches!(args.command, Some(Command::Check)) {
        println!("{} is valid", args.config.display());
        return ExitCode::SUCCESS;
    }
    match run(&args, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args, config: &NodeConfig) -> anyhow::Result<()> {
    telemetry::start(config.log_format, "info").map_err(anyhow::Error::msg)?;
    let secrets = Secrets::load(&args.config.with_file_name(".env"))?;
    let mut node = Node::start(config, secrets, Mode::Dispatch).await?;
    let server = gateway::server::Server::bind(&config.socket)?;
    let connections = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.serve(gateway::router(node.backend(), config.limits), connections, stopped));
    tracing::info!(node = %config.name, socket = %config.socket.display(), "the node is up");

    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = node.failed() => Some(reason),
    };
    stop.send_replace(true);
    if let Some(reason) = failed {
        // Nothing more can be made durable: no orderly end.
        anyhow::bail!("the node cannot go on: {reason}");
    }
    node.stop(args.stop_attempts).await;
    serving.await.context("the API ended badly")?;
    Ok(())
}
