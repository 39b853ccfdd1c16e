//! What went wrong in the core, as the API says it.
//! Deliberately absent: hiding anything but causes that are of no use to the asker.

use std::fmt::Display;

use devstack_dag::{Rejection, ids::TaskRef};

use crate::{
    actor::Gone,
    config::problem::Problem,
    gateway::{ApiError, error::code},
    repository,
    taskmaster::message::{AskError, SourceRefusal, SourceRefused},
};

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

/// A defect or a failing disk.
pub(super) fn internal(error: impl Display) -> ApiError {
    ApiError::internal(error.to_string())
}

/// Git's errors that a person can do something about say so themselves.
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

/// There is no such task.
pub(super) fn no_task(task: &TaskRef) -> ApiError {
    Rejection::UnknownTask(task.clone()).into()
}

/// Runs blocking work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(internal)
}
