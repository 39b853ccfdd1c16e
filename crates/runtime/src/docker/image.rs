//! Images: resolves a name to the current image, and makes the minimal image that needs no registry.
//!
//! Architecture invariants: nothing is pulled; a name is resolved once, when a plan is submitted, and attempts run the
//! image of that moment (`name@sha256:…`).

use std::{io, path::Path, time::Duration};

use super::engine::{Engine, EngineError};
use crate::{RuntimeError, busybox};

/// The image of a role that names none.
pub const MINIMAL: &str = "devstack/minimal:latest";

/// Deadline for an answer while an image is made: a user waits.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// `sha256:…`.
    pub(super) id: String,
    /// `NAME=value`.
    pub(super) env: Vec<String>,
}

/// The image of a name, or of a resolved `name@sha256:…`; `None` if the engine does not have it.
pub(super) async fn find(engine: &Engine, name: &str) -> Result<Option<Image>, EngineError> {
    let wanted = name.rsplit_once('@').map_or(name, |(_, id)| id);
    let found = engine.image(wanted).await?;
    Ok(found.and_then(|image| Some(Image { id: image.id?, env: image.config.and_then(|c| c.env).unwrap_or_default() })))
}

/// `name@sha256:…` for the name in a plan; the minimal image if there is no name.
pub(super) async fn resolve(engine: &Engine, name: Option<&str>) -> Result<String, RuntimeError> {
    let name = name.unwrap_or(MINIMAL);
    match find(engine, name).await {
        Ok(Some(image)) if name.contains('@') => Ok(format!("{}@{}", name.split('@').next().unwrap_or(name), image.id)),
        Ok(Some(image)) => Ok(format!("{name}@{}", image.id)),
        Ok(None) => Err(unknown(name)),
        Err(error @ EngineError::Gone { .. }) => Err(RuntimeError::Unavailable(error.to_string())),
        Err(error) => Err(RuntimeError::failed(format!("looking for the image {name}"))(io::Error::other(error))),
    }
}

/// The error for a missing image, with its fix.
pub(super) fn unknown(name: &str) -> RuntimeError {
    RuntimeError::Refused(if name == MINIMAL {
        format!("no image {name} on this host; build it: devstack image build --minimal")
    } else {
        format!("no image {name} on this host; build or load it: docker build -t {name} …, docker load")
    })
}

/// Makes the minimal image in the engine at this socket, if it does not exist; returns true if it was made.
///
/// # Errors
/// No engine answers, or no static busybox is available.
pub async fn build_minimal(socket: &Path, again: bool) -> Result<bool, RuntimeError> {
    let engine = Engine::new(socket.to_owned(), ANSWER, ANSWER);
    let failed = |error: EngineError| match error {
        EngineError::Gone { .. } => RuntimeError::Unavailable(error.to_string()),
        other => RuntimeError::failed(format!("making the image {MINIMAL}"))(io::Error::other(other)),
    };
    if !again && find(&engine, MINIMAL).await.map_err(failed)?.is_some() {
        return Ok(false);
    }
    let tar = tokio::task::spawn_blocking(busybox::file_system).await;
    let tar = tar.unwrap_or_else(|error| Err(io::Error::other(error)));
    let tar = tar.map_err(RuntimeError::failed(format!("making the image {MINIMAL}")))?;
    let changes = vec!["USER 10001:10001".to_owned(), "WORKDIR /workspace".to_owned(), "CMD [\"/bin/sh\"]".to_owned()];
    engine.import(MINIMAL, tar, changes).await.map_err(failed)?;
    Ok(true)
}
