//! The few paths of an agent host: whether it runs, whether it is connected, and its metrics.
//! Deliberately absent: everything else. The Taskmaster answers for the whole cluster.

use std::sync::Arc;

use axum::{Extension, Router, routing::get};

use super::not_there;
use crate::{Caller, access, metrics};
use devstack_api::ApiError;
use devstack_machine::disk::Disk;

/// The API of an agent host. `connected` states whether the host is connected to its Taskmaster; `disk` is the disk
/// that must not become full.
pub fn agent_router(connected: Arc<dyn Fn() -> bool + Send + Sync>, disk: Arc<Disk>) -> Router {
    let of_metrics = connected.clone();
    // No user has a token here, so metrics are only for local users.
    let metrics = move |Extension(caller): Extension<Caller>| {
        let answer: Result<bool, ApiError> = match caller {
            Caller::Local { .. } => Ok(of_metrics()),
            Caller::Remote(_) => {
                Err(access::forbidden("the metrics of an agent host are available only on its socket")
                    .hint("`/metrics` of the Taskmaster has the state of every host"))
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
