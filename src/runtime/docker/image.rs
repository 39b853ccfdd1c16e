//! Images: which one a name means now, and the minimal one that needs no registry.
//!
//! Architecture invariants: nothing is pulled; a name is resolved once, when a plan is submitted, and what runs is the
//! image of that moment (`name@sha256:…`).

use std::{io, path::Path, time::Duration};

use super::engine::{Engine, EngineError};
use crate::runtime::{RuntimeError, busybox};

/// What runs where a role names no image.
pub const MINIMAL: &str = "devstack/minimal:latest";

/// For an answer while an image is made: a person waits.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// `sha256:…`.
    pub(super) id: String,
    /// `NAME=value`.
    pub(super) env: Vec<String>,
}

/// The image that a name, or a resolved `name@sha256:…`, means; `None`: the engine has it not.
pub(super) async fn find(engine: &Engine, name: &str) -> Result<Option<Image>, EngineError> {
    let wanted = name.rsplit_once('@').map_or(name, |(_, id)| id);
    let found = engine.image(wanted).await?;
    Ok(found.and_then(|image| Some(Image { id: image.id?, env: image.config.and_then(|c| c.env).unwrap_or_default() })))
}

/// `name@sha256:…` for a name as a plan has it; the minimal image for none.
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

/// The error for an image that is not there, with its mend.
pub(super) fn unknown(name: &str) -> RuntimeError {
    RuntimeError::Refused(if name == MINIMAL {
        format!("there is no image {name} on this host; make it: devstack image build --minimal")
    } else {
        format!("there is no image {name} on this host; build or load it: docker build -t {name} …, docker load")
    })
}

/// Makes the minimal image in the engine at this socket, if it is not there; true: it was made.
///
/// # Errors
/// No engine answers, or there is no static busybox to be had.
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
