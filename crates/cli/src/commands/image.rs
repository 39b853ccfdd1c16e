//! `image`: builds images that devstack provides itself, in this machine's engine and not on a node.

use std::path::PathBuf;

use super::Context;
use crate::{CliError, Exit, args::ImageCommand, exit::code};
use devstack_config::{node::DOCKER_SOCKET, problem::Problem};
use devstack_runtime::{RuntimeError, docker};

pub(super) async fn run(context: &Context<'_>, command: ImageCommand) -> Result<Exit, CliError> {
    let ImageCommand::Build { minimal: _, force } = command;
    let made = docker::image::build_minimal(&socket(), force).await.map_err(failed)?;
    let name = docker::image::MINIMAL;
    context.output.note(&match made {
        true => format!("built the image {name}"),
        false => format!("the image {name} already exists; --force rebuilds it"),
    });
    if !context.output.for_people() {
        context.output.data(&serde_json::json!({ "apiVersion": "v1", "image": name, "made": made }).to_string());
    }
    Ok(Exit::Ok)
}

/// The engine's socket: `DOCKER_HOST` if it names a unix socket, else Docker's default.
pub(crate) fn socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or(DOCKER_SOCKET).into()
}

fn failed(error: RuntimeError) -> CliError {
    let text = error.to_string();
    match error {
        RuntimeError::Unavailable(_) => {
            let hint = "start Docker, or set its socket: DOCKER_HOST=unix:///…";
            CliError::new(Exit::Refused, Problem::new(code::NO_ENGINE, text).hint(hint))
        }
        _ => CliError::failure(text),
    }
}
