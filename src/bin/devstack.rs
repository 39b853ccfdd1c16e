//! The command.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use devstack::{
    cli::{self, ByHand, CliError, Embed, Node, Output, Quickstart, Runtime, Seams},
    config::{node::NodeConfig, problem::Problem},
    gateway::dto,
};

fn main() -> ExitCode {
    cli::main(Seams { node: &Apart, by_hand: &Apart, quickstart })
}

/// The seams, until the node is connected: only commands that ask another process work.
struct Apart;

fn apart() -> Problem {
    Problem::new("DS0409", "this build has no node of its own").hint("name a running node with --address")
}

#[async_trait::async_trait]
impl Embed for Apart {
    async fn start(&self, _: NodeConfig, _: bool) -> Result<Box<dyn Node>, Problem> {
        Err(apart())
    }
}

impl ByHand for Apart {
    fn checkout(&self, _: &dto::Conflict, _: &Path) -> Result<bool, Problem> {
        Err(apart())
    }
    fn bundle(&self, _: &dto::Conflict, _: &Path, _: &Path) -> Result<String, Problem> {
        Err(apart())
    }
}

fn quickstart(_: PathBuf, _: Runtime, _: Output) -> Quickstart {
    Box::pin(async { Err(CliError::new(cli::Exit::Failure, apart())) })
}
