//! The daemon: a node from a configuration file, until it is told to stop; and `join`, which makes that file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
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
        Identity, Mode, Node, Serving,
        join::{self, Order},
    },
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
    /// Make this machine an agent host of a cluster, with the line that `devstack token create --role agent-host` printed
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
    devstack::allocator::bound();
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
    telemetry::start(config.log_format, "info").map_err(anyhow::Error::msg)?;
    let secrets = Secrets::load(&args.config.with_file_name(".env"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let identity = Identity::open(config, now.as_secs().try_into().unwrap_or(i64::MAX))?;
    let mut node = Node::start(config, secrets, Mode::Dispatch).await?;
    let serving = Serving::start(config, node.backend(), identity.as_ref()).await?;
    tracing::info!(node = %config.name, socket = %config.socket.display(), "the node is up");

    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = node.failed() => Some(reason),
    };
    serving.stop();
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
