//! The daemon: a node from a configuration file, until it is told to stop; and `join`, which makes that file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use devstack::{
    cli::CliError,
    config::{
        node::{NodeConfig, STATE_DIR},
        secrets::Secrets,
    },
    node::{
        Identity, Mode, Node, Pulse, Serving, Surroundings,
        join::{self, Order},
    },
    notify::ServiceManager,
    telemetry,
};
use devstack_cluster::join_token::InvalidToken;
use tokio::signal::unix::{SignalKind, signal};

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
    /// Make this machine an agent host of a cluster, with the line that `devstack token create --role agent-host`
    /// printed
    Join {
        /// The token; `-`: read it from stdin
        token: String,
        /// The name of this machine in the cluster. Default: its host name
        #[arg(long)]
        name: Option<String>,
        /// Where the node's state will lie
        #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
        state_dir: PathBuf,
    },
}

fn main() -> ExitCode {
    devstack::memory::keep_private();
    devstack::allocator::bound();
    if let Some(code) = devstack::repository::worker::serve_if_asked() {
        return code;
    }
    let args = Args::parse();
    if let Some(Command::Join { token, name, state_dir }) = &args.command {
        return match join(&args.config, token, name.clone(), state_dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let problem = &error.error.problem;
                eprintln!("error: {problem} [{}]", problem.code);
                if let Some(hint) = &problem.hint {
                    eprintln!("hint: {hint}");
                }
                error.exit.into()
            }
        };
    }
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
    let log = &config.telemetry;
    let output = telemetry::Output { format: log.format, target: log.target, node: config.name.to_string() };
    telemetry::start(&output, &log.filter).map_err(anyhow::Error::msg)?;
    let manager = Arc::new(ServiceManager::of_this_process().context("cannot reach the service manager")?);
    let secrets = Secrets::load(&args.config.with_file_name(".env"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let identity = Identity::open(config, now.as_secs().try_into().unwrap_or(i64::MAX))?;
    let surroundings = Surroundings { identity: identity.clone(), ..Surroundings::default() };
    let mut node = Node::start_in(config, secrets, Mode::Dispatch, surroundings).await?;
    let serving = Serving::start(config, &node, identity.as_ref()).await?;
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
    serving.stop();
    manager.stopping(if args.stop_attempts { "ending attempts" } else { "attempts go on without the node" });
    // From here on the manager waits by its limit for a stop.
    watchdog.inspect(tokio::task::JoinHandle::abort);
    if let Some(reason) = failed {
        // Nothing more can be made durable: no orderly end.
        anyhow::bail!("the node cannot go on: {reason}");
    }
    node.stop(args.stop_attempts).await;
    serving.ended().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn join(config: &Path, token: &str, name: Option<String>, state_dir: &Path) -> Result<(), CliError> {
    let token = match token {
        "-" => std::io::read_to_string(std::io::stdin())?,
        token => token.to_owned(),
    };
    let token = token.parse().map_err(|error: InvalidToken| {
        CliError::usage(error.to_string()).hint("`devstack token create --role agent-host` prints one")
    })?;
    let (config, state_dir) = (std::path::absolute(config)?, std::path::absolute(state_dir)?);
    let joined = join::join(&Order { token, name, config: config.clone(), state_dir }).await?;
    println!("{} is a member of {}; its Taskmaster is at {}", joined.name, joined.cluster, joined.taskmaster);
    println!("start it: devstack-node --config {}", config.display());
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
    telemetry::refilter(&config.telemetry.filter).map_err(anyhow::Error::msg)?;
    node.replace_secrets(secrets);
    config.telemetry.filter.clone_from(&running.telemetry.filter);
    if config == *running {
        tracing::info!("reloaded: secrets and the filter of the log");
    } else {
        tracing::warn!("reloaded: secrets and the filter of the log; what else changed needs a restart of the node");
    }
    Ok(())
}
