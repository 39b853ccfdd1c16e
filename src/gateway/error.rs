//! Errors of the API: a [`Problem`] with an HTTP status. The CLI reads them back and exits by the status.
//! Deliberately absent: deciding what is an error.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dto::V1;
use crate::config::problem::{Problem, Problems};

/// A code of the API itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `DS` and four digits.
    pub code: &'static str,
    /// The status that it usually comes with.
    pub status: u16,
    /// What it means.
    pub means: &'static str,
}

macro_rules! codes {
    ($($name:ident = $code:literal, $status:literal, $means:literal;)*) => {
        /// Codes of the API itself; the engine has DS02xx, files have DS01xx. Stable.
        pub mod code {
            $(#[doc = $means] pub const $name: &str = $code;)*
        }

        /// All of them, for the description.
        pub const CODES: &[Code] = &[$(Code { code: $code, status: $status, means: $means },)*];
    };
}

codes! {
    NO_PROJECT = "DS0201", 404, "no such project; the engine's own code for the same";
    NO_HOST = "DS0221", 404, "no such host; the engine's own code for the same";
    SOURCE = "DS0250", 422, "a repository that cannot be used as it is";
    BAD_REQUEST = "DS0301", 400, "a request that cannot be read: its path, query, headers or body";
    NO_ROUTE = "DS0302", 404, "no such path";
    TOO_LARGE = "DS0303", 413, "a body over its limit";
    KEY_REUSED = "DS0304", 409, "the idempotency key was used with another body";
    BEHIND_HORIZON = "DS0305", 410, "the facts asked for are no longer kept";
    TIMED_OUT = "DS0306", 504, "it took too long; whether it was done is unknown";
    UNAVAILABLE = "DS0307", 503, "the node starts, stops, or cannot write";
    INTERNAL = "DS0308", 500, "a defect or a failing disk";
    NOTHING_THERE = "DS0309", 404, "no such attempt, log, diff, conflict";
    NOT_BY_HAND = "DS0310", 409, "a task that a person cannot do by hand as it stands";
    RESULT_REFUSED = "DS0311", 409, "a person's result that quarantine or the state refuses";
    UNAUTHENTICATED = "DS0312", 401, "no token, or one that is not good";
    FORBIDDEN = "DS0313", 403, "a role or a certificate that is not enough, or a repository that plans may not name";
    NO_CLUSTER = "DS0314", 409, "the node is the Taskmaster of no cluster, or of one that nobody can reach";
    JOIN_REFUSED = "DS0315", 403, "a join token that lets nobody in any more";
    NAME_TAKEN = "DS0316", 409, "the name belongs to another machine or token, or there are too many";
    PUSH_REFUSED = "DS0317", 422, "a push that is no whole bundle of what it announces, or holds what git's checks refuse";
    DIVERGED = "DS0318", 409, "a push whose integration branch lacks what was delivered to it";
    TOO_MANY = "DS0319", 429, "too many requests, changes, streams or uploads of one caller";
    DISK_FULL = "DS0331", 409, "too little room is left on the Taskmaster's disk for a plan or an upload";
    NO_AUDIT = "DS0320", 503, "the log of changes cannot be written, so that nothing may be changed";
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    #[serde(rename = "apiVersion")]
    api_version: V1,
    /// The first thing that is wrong.
    #[schema(value_type = ProblemObject)]
    error: Problem,
    /// All of them, the first one too; one entry for an error that stands alone.
    #[schema(value_type = Vec<ProblemObject>)]
    errors: Vec<Problem>,
}

/// The description of a [`Problem`], which knows nothing of the API.
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
    /// The file it is about.
    file: Option<String>,
    /// The line in that file, from 1.
    line: Option<u32>,
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
