//! `devstack`: commands over the HTTP API. Data goes to stdout; progress and errors go to stderr.
//! Deliberately absent: the engine and the actors. If no node is running, the same node is started in this process
//! ([`embed`]) and queried through the same API.

mod address;
mod args;
mod client;
mod commands;
mod completions;
pub mod doctor;
pub mod embed;
mod exit;
mod files;
mod follow;
mod interrupt;
mod lock;
mod man;
mod output;
mod progress;
mod proxy;
mod session;
mod shared_file;
mod table;
mod top;
mod transfer;
mod usage;
mod visible;
mod workdir;

use std::process::ExitCode;

use clap::Parser;

pub use args::Runtime;
pub use embed::{ByHand, Embed, Node, Seams};
pub use exit::{CliError, Exit, code::REFUSED_HERE};
pub use lock::StateLock;
pub use output::Output;
pub use workdir::Workdir;

/// Runs the command line of this process.
pub fn main(seams: Seams) -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap prints help and version to stdout (0), mistakes to stderr (2).
            let words: Vec<String> = std::env::args().collect();
            if error.use_stderr() && args::wants_json(&words, std::env::var("DEVSTACK_OUTPUT").ok().as_deref()) {
                output::Output::for_programs().error(&mistyped(&error));
            } else {
                let _ = error.print();
            }
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let output = output::Output::new(&args.global);
    match run(args, &output, seams) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.error(&error);
            error.exit.into()
        }
    }
}

/// The error for a command line that cannot be parsed, in one line.
fn mistyped(error: &clap::Error) -> CliError {
    let text = error.to_string();
    let said = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let said: Vec<&str> = said.split_whitespace().collect();
    CliError::usage(said.join(" ")).hint("add `--help` to a command to list its options")
}

fn run(args: args::Args, output: &output::Output, seams: Seams) -> Result<Exit, CliError> {
    let level = match args.global.verbose {
        0 => "off",
        1 => "devstack=info",
        _ => "devstack=debug",
    };
    devstack_telemetry::start(&devstack_telemetry::Output::for_people(), level).map_err(CliError::usage)?;
    let timeout = args.global.timeout;
    let context = commands::Context { global: args.global, output, seams };
    // A command that only queries needs one thread; an embedded node runs actors, git and processes.
    let runtime = if args.command.embeds() {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    };
    let runtime = runtime.map_err(|e| CliError::failure(format!("cannot start: {e}")))?;
    let result = runtime.block_on(async {
        let handles_interrupts = args.command.handles_interrupts();
        let command = commands::run(context, args.command);
        let limited = async {
            match timeout {
                None => command.await,
                Some(limit) => {
                    tokio::time::timeout(limit, command).await.unwrap_or_else(|_| Err(CliError::timed_out(limit)))
                }
            }
        };
        tokio::select! {
            result = limited => result,
            () = interrupt::first(), if !handles_interrupts => Ok(Exit::Interrupted),
        }
    });
    // A thread that waits for a lock or reads a file must not delay the exit.
    runtime.shutdown_background();
    result
}
