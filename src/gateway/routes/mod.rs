//! The router: which path is which handler, limits on bodies and time, errors for what is not there.
//! Deliberately absent: what handlers do.

mod facts;
mod plans;
mod reads;
mod tasks;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{ApiError, Backend, error::code, metrics};
use crate::config::{node::Limits, problem::Problem};

/// The largest body of a request that is neither a plan nor a bundle, in bytes: a person's message.
const MESSAGE_MAX: usize = 64 << 10;

/// What every handler sees.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) limits: Limits,
}

/// The whole API over a backend.
pub fn router(backend: Arc<dyn Backend>, limits: Limits) -> Router {
    let api = Api { backend, limits };
    let size = |bytes: u64| DefaultBodyLimit::max(usize::try_from(bytes).unwrap_or(usize::MAX));
    let bounded = Router::new()
        .route("/v1/plans", post(plans::submit).layer(size(limits.plan_size)).get(plans::list))
        .route("/v1/plans/{project}", get(plans::show))
        .route("/v1/plans/{project}/cancel", post(plans::cancel))
        .route("/v1/projects", get(reads::projects))
        .route("/v1/projects/{project}", get(reads::project))
        .route("/v1/projects/{project}/pause", post(plans::pause))
        .route("/v1/projects/{project}/resume", post(plans::resume))
        .route("/v1/tasks", get(tasks::list))
        .route("/v1/tasks/{project}/{id}", get(tasks::show))
        .route("/v1/tasks/{project}/{id}/explain", get(tasks::explain))
        .route("/v1/tasks/{project}/{id}/stop", post(tasks::stop))
        .route("/v1/tasks/{project}/{id}/retry", post(tasks::retry))
        .route("/v1/tasks/{project}/{id}/reject", post(tasks::reject))
        .route("/v1/tasks/{project}/{id}/approve", post(tasks::approve))
        .route("/v1/tasks/{project}/{id}/request-changes", post(tasks::request_changes))
        .route("/v1/agents", get(reads::agents))
        .route("/v1/hosts", get(reads::hosts))
        .route("/v1/merges", get(reads::merges))
        .route("/v1/status", get(reads::status))
        .route("/healthz", get(reads::healthy))
        .route("/readyz", get(reads::ready))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(MESSAGE_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), in_time));
    // These stream, or wait for something that may take days: a reader that goes away ends them.
    let streaming = Router::new()
        .route("/v1/wait", get(reads::wait))
        .route("/v1/facts", get(facts::follow))
        .route("/v1/tasks/{project}/{id}/logs", get(tasks::logs))
        .route("/v1/tasks/{project}/{id}/diff", get(tasks::diff))
        .route("/v1/tasks/{project}/{id}/resolve", get(tasks::conflict).post(tasks::resolve));
    bounded
        .merge(streaming)
        .method_not_allowed_fallback(|| async {
            not_there(
                405,
                "this path does not take this method",
                "the header `allow` of this answer names those it takes",
            )
        })
        .fallback(|| async {
            not_there(
                404,
                "there is no such path",
                "there are plans, projects, tasks, agents, hosts, merges, facts, status and wait, each below /v1/",
            )
        })
        .with_state(api)
}

fn not_there(status: u16, message: &str, hint: &str) -> ApiError {
    ApiError::new(status, Problem::new(code::NO_ROUTE, message).hint(hint))
}

/// Ends a request that takes too long; its outcome is then unknown.
async fn in_time(State(api): State<Api>, request: Request, next: Next) -> Response {
    let limit = Duration::from_millis(api.limits.request_timeout);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timed_out(format!("there was no answer within {} s", limit.as_secs_f64())).into_response(),
    }
}
