//! Converts errors of the core to the API's problems. Deliberately absent: hiding anything, except causes that do not
//! help the caller.

use std::fmt::Display;

use devstack_dag::{Rejection, ids::TaskRef};

use crate::{
    actor::Gone,
    taskmaster::message::{AskError, SourceRefusal, SourceRefused},
};
use devstack_api::{ApiError, error::code};
use devstack_config::problem::Problem;
use devstack_repository as repository;

impl From<Gone> for ApiError {
    fn from(gone: Gone) -> Self {
        Self::unavailable(gone.to_string())
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Rejected(rejection) => rejection.into(),
            AskError::KeyReused => Self::key_reused(),
            AskError::Source(refused) => {
                let (status, code) = match refused.kind {
                    SourceRefusal::Invalid => (422, code::SOURCE),
                    SourceRefusal::State => (409, code::SOURCE),
                    SourceRefusal::Forbidden => (403, code::FORBIDDEN),
                };
                Self::new(status, Problem::new(code, refused.message).hint(refused.hint))
            }
        }
    }
}

/// A bug, or a failing disk.
pub(super) fn internal(error: impl Display) -> ApiError {
    ApiError::internal(error.to_string())
}

/// Git's errors that a user can fix contain the fix.
pub(super) fn git(error: repository::Error) -> ApiError {
    match error {
        repository::Error::NoGit(_) | repository::Error::Busy(_) | repository::Error::Worker(_) => {
            ApiError::unavailable(error.to_string())
        }
        other => internal(other),
    }
}

/// A repository that a plan may not name, or that cannot be used.
pub(super) fn source(error: repository::Error) -> ApiError {
    match error {
        repository::Error::Source(_) => AskError::Source(SourceRefused::of(&error)).into(),
        other => git(other),
    }
}

/// The task does not exist.
pub(super) fn no_task(task: &TaskRef) -> ApiError {
    Rejection::UnknownTask(task.clone()).into()
}

/// Runs blocking work outside the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(internal)
}
