//! The few paths of a node that only runs attempts: is it there, is it connected, and what does it use?
//! Deliberately absent: everything else. Its Taskmaster answers for the whole cluster.

use std::sync::Arc;

use axum::{Extension, Router, routing::get};

use super::not_there;
use crate::{
    disk::Disk,
    gateway::{ApiError, Caller, access, metrics},
};

/// The API of such a node; `connected` says whether its Taskmaster has it, `disk` what must not become full.
pub fn agent_router(connected: Arc<dyn Fn() -> bool + Send + Sync>, disk: Arc<Disk>) -> Router {
    let of_metrics = connected.clone();
    // No person has a token here, so this is for the machine's own.
    let metrics = move |Extension(caller): Extension<Caller>| {
        let answer: Result<bool, ApiError> = match caller {
            Caller::Local { .. } => Ok(of_metrics()),
            Caller::Remote(_) => {
                Err(access::forbidden("the metrics of a node that only runs attempts are on its socket")
                    .hint("its Taskmaster's `/metrics` say how every host stands"))
            }
        };
        let disk = disk.clone();
        async move {
            let connected = answer?;
            let seen = tokio::task::spawn_blocking(move || disk.standing()).await;
            Ok::<_, ApiError>(metrics::of_agent(connected, seen.ok().flatten()))
        }
    };
    let ready = move || {
        let connected = connected();
        async move {
            match connected {
                true => Ok("ready\n"),
                false => Err(ApiError::unavailable("this host is not connected to its Taskmaster")),
            }
        }
    };
    let router = Router::new().route("/healthz", get(super::reads::healthy)).route("/readyz", get(ready));
    router.route("/metrics", get(metrics)).fallback(|| async {
        let hint =
            "ask its Taskmaster: `devstack --address https://HOST:7421`, or a context of `devstack cluster init`";
        not_there(404, "this node only runs attempts", hint)
    })
}
