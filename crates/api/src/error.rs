//! Errors of the API: a [`Problem`] with an HTTP status. The CLI reads errors back, and its exit code depends on the
//! status.
//! Deliberately absent: deciding what is an error.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dto::V1;
use devstack_config::problem::{Problem, Problems};

/// A code of the API itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `DS` and four digits.
    pub code: &'static str,
    /// The usual status.
    pub status: u16,
    /// The meaning.
    pub means: &'static str,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $status:literal, $means:literal;)*) => {
        /// Codes of the API itself; the engine has DS02xx, files have DS01xx. Stable.
        pub mod code {
            $(#[doc = $means] pub const $name: &str = $code;)*
        }

        /// All codes, for the API description.
        pub const CODES: &[Code] = &[$(Code { code: $code, status: $status, means: $means },)*];
    };
}

codes! {
    NO_PROJECT = "DS0201", 404, "no such project; the engine uses the same code";
    NO_HOST = "DS0221", 404, "no such host; the engine uses the same code";
    SOURCE = "DS0250", 422, "the repository cannot be used in its current state";
    BAD_REQUEST = "DS0301", 400, "the path, query, headers or body of the request cannot be read";
    NO_ROUTE = "DS0302", 404, "no such path";
    TOO_LARGE = "DS0303", 413, "the body is larger than its limit";
    KEY_REUSED = "DS0304", 409, "the idempotency key was used with another body";
    BEHIND_HORIZON = "DS0305", 410, "the requested facts are no longer kept";
    TIMED_OUT = "DS0306", 504, "the request took too long; its outcome is unknown";
    UNAVAILABLE = "DS0307", 503, "the node is starting, stopping, or cannot write";
    INTERNAL = "DS0308", 500, "a bug or a failing disk";
    NOTHING_THERE = "DS0309", 404, "no such attempt, log, diff or conflict";
    NOT_BY_HAND = "DS0310", 409, "a person cannot do this task by hand in its current state";
    RESULT_REFUSED = "DS0311", 409, "the quarantine or the state refuses the result of a person";
    UNAUTHENTICATED = "DS0312", 401, "the token is missing or not valid";
    FORBIDDEN = "DS0313", 403, "the role or the certificate is not sufficient, or plans may not name this repository";
    NO_CLUSTER = "DS0314", 409, "the node is not the Taskmaster of a cluster, or other machines cannot reach it";
    JOIN_REFUSED = "DS0315", 403, "the join token is no longer valid";
    NAME_TAKEN = "DS0316", 409, "the name belongs to another machine or token, or there are too many of them";
    PUSH_REFUSED = "DS0317", 422, "the push is not a complete bundle of the announced commits, or git refuses it";
    DIVERGED = "DS0318", 409, "the pushed integration branch lacks commits that were delivered to it";
    TOO_MANY = "DS0319", 429, "too many requests, changes, streams or uploads from one caller";
    DISK_FULL = "DS0331", 409, "the Taskmaster's disk has too little free space for a plan or an upload";
    NO_AUDIT = "DS0320", 503, "the audit log cannot be written, so changes are refused";
}

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The first problem.
    pub problem: Problem,
    /// All problems of a checked file; empty for a single problem.
    pub more: Box<[Problem]>,
}

/// The error object of the contract.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    #[serde(rename = "apiVersion")]
    api_version: V1,
    /// The first problem.
    #[schema(value_type = ProblemObject)]
    error: Problem,
    /// All problems, including the first; one entry for a single problem.
    #[schema(value_type = Vec<ProblemObject>)]
    errors: Vec<Problem>,
}

/// The schema of a [`Problem`], whose crate does not know the API.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it is only described")]
struct ProblemObject {
    /// Stable: `DS` and four digits.
    #[schema(pattern = "^DS[0-9]{4}$", example = "DS0301")]
    code: String,
    /// What failed and why.
    message: String,
    /// What to do about it.
    hint: Option<String>,
    /// The file of the problem.
    file: Option<String>,
    /// The line in that file, from 1.
    line: Option<u32>,
}

impl ApiError {
    /// An error with this status.
    pub fn new(status: u16, problem: Problem) -> Self {
        Self { status, problem, more: Box::default() }
    }

    /// 400: the request is wrong in any state.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, Problem::new(code::BAD_REQUEST, message))
    }

    /// 404: not found.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(404, Problem::new(code, message))
    }

    /// 409: valid, but refused in the current state.
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

    /// 410: facts after this number are no longer kept, or do not exist because the store is not the one that the
    /// reader read before.
    pub fn behind_horizon(after: u64) -> Self {
        let hint = "read the tasks again, then follow new facts";
        let message = format!("the facts after {after} are no longer kept or never existed");
        Self::new(410, Problem::new(code::BEHIND_HORIZON, message).hint(hint))
    }

    /// 503: the node cannot handle the request now.
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

    /// 500: a bug or a failing disk.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, Problem::new(code::INTERNAL, message).hint("see the log of the node"))
    }

    /// Replaces the hint.
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    /// The body of the contract.
    pub fn body(&self) -> ErrorBody {
        let errors = if self.more.is_empty() { vec![self.problem.clone()] } else { self.more.to_vec() };
        ErrorBody { api_version: V1, error: self.problem.clone(), errors }
    }

    /// Parses an error from a response.
    pub fn from_answer(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(ErrorBody { error, errors, .. }) => {
                Self { status, problem: error, more: if errors.len() > 1 { errors.into() } else { Box::default() } }
            }
            Err(_) => {
                Self::new(status, Problem::new(code::INTERNAL, format!("the node answered {status} without a reason")))
            }
        }
    }

    /// All problems; at least one.
    pub fn problems(&self) -> &[Problem] {
        if self.more.is_empty() { std::slice::from_ref(&self.problem) } else { &self.more }
    }
}

impl From<Problems> for ApiError {
    /// 400: all problems of a checked file.
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
        // Browsers get a page with the same content.
        response.extensions_mut().insert(self);
        response
    }
}
