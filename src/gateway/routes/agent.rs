//! The few paths of a node that only runs attempts: is it there, and is it connected?
//! Deliberately absent: everything else. Its Taskmaster answers for the whole cluster.

use std::sync::Arc;

use axum::{Router, routing::get};

use super::not_there;
use crate::gateway::ApiError;

/// The API of such a node; `connected` says whether its Taskmaster has it.
pub fn agent_router(connected: Arc<dyn Fn() -> bool + Send + Sync>) -> Router {
    let ready = move || {
        let connected = connected();
        async move {
            match connected {
                true => Ok("ready\n"),
                false => Err(ApiError::unavailable("this host is not connected to its Taskmaster")),
            }
        }
    };
    Router::new().route("/healthz", get(super::reads::healthy)).route("/readyz", get(ready)).fallback(|| async {
        let hint =
            "ask its Taskmaster: `devstack --address https://HOST:7421`, or a context of `devstack cluster init`";
        not_there(404, "this node only runs attempts", hint)
    })
}
