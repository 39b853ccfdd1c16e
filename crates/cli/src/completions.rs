//! `completions`: shell completions, generated from the definition of the command line.

use clap::CommandFactory;

use super::{CliError, Exit, args::Args, output::Output};

pub(super) fn print(shell: clap_complete::Shell, output: &Output) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "devstack", &mut script);
    output.raw(&script);
    Ok(Exit::Ok)
}
