//! The daemon: a node from a configuration file, until it is told to stop.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use devstack::{
    config::{node::NodeConfig, secrets::Secrets},
    gateway,
    node::{Mode, Node, Pulse},
    notify::ServiceManager,
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
    telemetry::start(config.log_format, &config.log_filter).map_err(anyhow::Error::msg)?;
    let manager = Arc::new(ServiceManager::of_this_process().context("cannot reach the service manager")?);
    let secrets = Secrets::load(&args.config.with_file_name(".env"))?;
    let mut node = Node::start(config, secrets, Mode::Dispatch).await?;
    let server = gateway::server::Server::bind(&config.socket)?;
    let connections = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.serve(gateway::router(node.backend(), config.limits), connections, stopped));
    tracing::info!(node = %config.name, socket = %config.socket.display(), "the node is up");

    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen to SIGHUP")?;
    let up = format!("{} answers on {}", config.name, config.socket.display());
    manager.ready(&up);
    let watchdog = manager.alive_every().map(|pause| tokio::spawn(keep_alive(manager.clone(), node.pulse(), pause)));
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            reason = node.failed() => break Some(reason),
            _ = hang_up.recv() => {
                manager.reloading();
                manager.ready(match reload(args, config, &node) {
                    Ok(()) => &up,
                    Err(error) => {
                        tracing::error!("nothing was reloaded, the node goes on as before: {error:#}");
                        "the last reload was refused; see the log"
                    }
                });
            }
        }
    };
    stop.send_replace(true);
    manager.stopping(if args.stop_attempts { "ending attempts" } else { "attempts go on without the node" });
    // From here on the manager waits by its limit for a stop.
    watchdog.inspect(tokio::task::JoinHandle::abort);
    if let Some(reason) = failed {
        // Nothing more can be made durable: no orderly end.
        anyhow::bail!("the node cannot go on: {reason}");
    }
    node.stop(args.stop_attempts).await;
    serving.await.context("the API ended badly")?;
    Ok(())
}

/// Tells the service manager that the node lives, as long as its actors do.
async fn keep_alive(manager: Arc<ServiceManager>, pulse: Pulse, pause: Duration) {
    loop {
        match pulse.beats(pause).await {
            Ok(()) => manager.alive(),
            Err(error) => {
                tracing::error!(%error, "an actor hangs; if that lasts, the service manager restarts the node")
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Reads again what may change while the node runs: secrets and the filter of the log. Everything or nothing.
fn reload(args: &Args, running: &NodeConfig, node: &Node) -> anyhow::Result<()> {
    let mut config = NodeConfig::load(&args.config)?;
    let secrets = Secrets::load(&args.config.with_file_name(".env"))?;
    telemetry::refilter(&config.log_filter).map_err(anyhow::Error::msg)?;
    node.replace_secrets(secrets);
    config.log_filter.clone_from(&running.log_filter);
    if config == *running {
        tracing::info!("reloaded: secrets and the filter of the log");
    } else {
        tracing::warn!("reloaded: secrets and the filter of the log; what else changed needs a restart of the node");
    }
    Ok(())
}
