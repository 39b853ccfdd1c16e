//! Errors of the API: a [`Problem`] with an HTTP status. The CLI reads them back and exits by the status.
//! Deliberately absent: deciding what is an error.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::dto::V1;
use crate::config::problem::{Problem, Problems};

/// Codes of the API itself; the engine has DS02xx, files have DS01xx. Stable.
pub mod code {
    /// No such project; the engine's own code for the same.
    pub const NO_PROJECT: &str = "DS0201";
    /// No such host; the engine's own code for the same.
    pub const NO_HOST: &str = "DS0221";
    /// A request that cannot be read: its path, query, headers or body.
    pub const BAD_REQUEST: &str = "DS0301";
    /// No such path.
    pub const NO_ROUTE: &str = "DS0302";
    /// A body over its limit.
    pub const TOO_LARGE: &str = "DS0303";
    /// The idempotency key was used with another body.
    pub const KEY_REUSED: &str = "DS0304";
    /// The facts asked for are no longer kept.
    pub const BEHIND_HORIZON: &str = "DS0305";
    /// It took too long; whether it was done is unknown.
    pub const TIMED_OUT: &str = "DS0306";
    /// The node starts, stops, or cannot write.
    pub const UNAVAILABLE: &str = "DS0307";
    /// A defect or a failing disk.
    pub const INTERNAL: &str = "DS0308";
    /// No such attempt, log, diff, conflict.
    pub const NOTHING_THERE: &str = "DS0309";
    /// No token, or one that is not good.
    pub const UNAUTHENTICATED: &str = "DS0312";
    /// A role or a certificate that is not enough.
    pub const FORBIDDEN: &str = "DS0313";
    /// The node is the Taskmaster of no cluster, or of one that nobody can reach.
    pub const NO_CLUSTER: &str = "DS0314";
    /// A join token that lets nobody in any more.
    pub const JOIN_REFUSED: &str = "DS0315";
    /// The name belongs to another machine or token, or there are too many.
    pub const NAME_TAKEN: &str = "DS0316";
    /// A push that is no whole bundle of what it announces, or holds what git's checks refuse.
    pub const PUSH_REFUSED: &str = "DS0317";
    /// A push whose integration branch lacks what was delivered to it.
    pub const DIVERGED: &str = "DS0318";
}

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong; the first of `more`.
    pub problem: Problem,
    /// Everything that is wrong, when a whole file was judged; else empty.
    pub more: Box<[Problem]>,
}

/// The error object of the contract.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    #[serde(rename = "apiVersion")]
    api_version: V1,
    error: Problem,
    /// All of them, the first one too; one entry for an error that stands alone.
    errors: Vec<Problem>,
}

impl ApiError {
    /// An error of this status.
    pub fn new(status: u16, problem: Problem) -> Self {
        Self { status, problem, more: Box::default() }
    }

    /// 400: the request is wrong whatever the state.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, Problem::new(code::BAD_REQUEST, message))
    }

    /// 404: there is no such thing.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(404, Problem::new(code, message))
    }

    /// 409: valid, but refused by the present state.
    pub fn state(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(409, Problem::new(code, message))
    }

    /// 409: the idempotency key was used before with another body.
    pub fn key_reused() -> Self {
        let hint = "use a new key for a new request";
        Self::new(
            409,
            Problem::new(code::KEY_REUSED, "the idempotency key was used before with another request").hint(hint),
        )
    }

    /// 410: facts after this number are no longer kept, or do not exist: the store is another than the reader's.
    pub fn behind_horizon(after: u64) -> Self {
        let hint = "read the tasks again, then follow the facts from now on";
        let message = format!("there are no facts after {after}: they are no longer kept, or never were");
        Self::new(410, Problem::new(code::BEHIND_HORIZON, message).hint(hint))
    }

    /// 503: the node cannot take this now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(
            503,
            Problem::new(code::UNAVAILABLE, message).hint("try again in a moment; the request was not carried out"),
        )
    }

    /// 504: the outcome is unknown.
    pub fn timed_out(message: impl Into<String>) -> Self {
        let hint = "repeat it with the same Idempotency-Key: it is carried out at most once";
        Self::new(504, Problem::new(code::TIMED_OUT, message).hint(hint))
    }

    /// 500: a defect or a failing disk.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, Problem::new(code::INTERNAL, message).hint("the node's log says more"))
    }

    /// With another hint.
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    /// The body of the contract.
    pub fn body(&self) -> ErrorBody {
        let errors = if self.more.is_empty() { vec![self.problem.clone()] } else { self.more.to_vec() };
        ErrorBody { api_version: V1, error: self.problem.clone(), errors }
    }

    /// Reads an error back from an answer.
    pub fn from_answer(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(ErrorBody { error, errors, .. }) => {
                Self { status, problem: error, more: if errors.len() > 1 { errors.into() } else { Box::default() } }
            }
            Err(_) => Self::new(
                status,
                Problem::new(code::INTERNAL, format!("the node answered {status} without saying why")),
            ),
        }
    }

    /// Everything that is wrong; at least one.
    pub fn problems(&self) -> &[Problem] {
        if self.more.is_empty() { std::slice::from_ref(&self.problem) } else { &self.more }
    }
}

impl From<Problems> for ApiError {
    /// 400: a file that was judged whole.
    fn from(problems: Problems) -> Self {
        let more = problems.into_vec().into_boxed_slice();
        let problem = more.first().cloned().unwrap_or_else(|| Problem::new(code::BAD_REQUEST, "the input is wrong"));
        Self { status: 400, problem, more }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(code = %self.problem.code, "a request failed: {}", self.problem);
        }
        let mut response = (status, Json(self.body())).into_response();
        // Those who read pages get a page that says the same.
        response.extensions_mut().insert(self);
        response
    }
}
