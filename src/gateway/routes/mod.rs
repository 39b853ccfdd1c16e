//! The router, made from one table: which path is which handler, and the least that it takes to ask. Limits on bodies
//! and time; errors for what is not there.
//! Deliberately absent: what handlers do.

mod agent;
mod cluster;
mod facts;
mod hosts;
mod nodes;
mod plans;
mod reads;
mod repos;
mod tasks;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::Method,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

pub use agent::agent_router;

use super::{
    ApiError, Backend,
    access::{self, Access},
    cluster::Cluster,
    dashboard::{self, Dashboard, pages},
    error::code,
    metrics::metrics,
};
use crate::config::{node::Limits, problem::Problem};

/// The largest body of a request that is neither a plan nor a bundle, in bytes: a person's message.
const MESSAGE_MAX: usize = 64 << 10;

/// What every handler sees.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) limits: Limits,
    pub(super) dashboard: Arc<Dashboard>,
}

impl Api {
    /// The cluster of this node.
    pub(super) fn cluster(&self) -> Result<&Cluster, ApiError> {
        self.cluster.as_deref().ok_or_else(|| {
            ApiError::state(code::NO_CLUSTER, "this node is the Taskmaster of no cluster")
                .hint("`devstack cluster init` makes one; then restart the node")
        })
    }
}

/// One entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The least that it takes to ask.
    pub least: Access,
    /// `get` or `post`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
}

macro_rules! routes {
    ($($group:ident { $($least:ident $method:ident $path:literal => $handler:path;)* })*) => {
        /// Every route of the API.
        pub const ROUTES: &[Route] = &[$($(
            Route { least: Access::$least, method: stringify!($method), path: $path },
        )*)*];

        $(fn $group() -> Router<Api> {
            Router::new()$(.route($path, $method($handler)))*
        })*
    };
}

routes! {
    // The body is as large as a plan may be.
    large {
        Operator post "/v1/plans" => plans::submit;
    }
    bounded {
        Viewer   get  "/v1/plans" => plans::list;
        Viewer   get  "/v1/plans/{project}" => plans::show;
        Operator post "/v1/plans/{project}/cancel" => plans::cancel;
        Viewer   get  "/v1/projects" => reads::projects;
        Viewer   get  "/v1/projects/{project}" => reads::project;
        Operator post "/v1/projects/{project}/pause" => plans::pause;
        Operator post "/v1/projects/{project}/resume" => plans::resume;
        Viewer   get  "/v1/tasks" => tasks::list;
        Viewer   get  "/v1/tasks/{project}/{id}" => tasks::show;
        Viewer   get  "/v1/tasks/{project}/{id}/explain" => tasks::explain;
        Operator post "/v1/tasks/{project}/{id}/stop" => tasks::stop;
        Operator post "/v1/tasks/{project}/{id}/retry" => tasks::retry;
        Operator post "/v1/tasks/{project}/{id}/reject" => tasks::reject;
        Operator post "/v1/tasks/{project}/{id}/approve" => tasks::approve;
        Operator post "/v1/tasks/{project}/{id}/request-changes" => tasks::request_changes;
        Operator get  "/v1/repos/{project}" => repos::show;
        Viewer   get  "/v1/agents" => reads::agents;
        Viewer   get  "/v1/hosts" => hosts::list;
        Viewer   get  "/v1/hosts/{host}" => hosts::show;
        Operator post "/v1/hosts/{host}/drain" => hosts::drain;
        Operator post "/v1/hosts/{host}/undrain" => hosts::undrain;
        Admin    post "/v1/hosts/{host}/remove" => hosts::remove;
        Viewer   get  "/v1/merges" => reads::merges;
        Viewer   get  "/v1/status" => reads::status;
        Viewer   get  "/v1/cluster" => cluster::show;
        Admin    get  "/v1/tokens" => cluster::tokens;
        Admin    post "/v1/tokens" => cluster::create_token;
        Admin    post "/v1/tokens/{id}/revoke" => cluster::revoke_token;
        // The join token in the body is the proof.
        Anyone   post "/v1/join" => cluster::join;
        Node     post "/v1/renew" => cluster::renew;
        Anyone   get  "/healthz" => reads::healthy;
        Anyone   get  "/readyz" => reads::ready;
        Viewer   get  "/metrics" => metrics;
        // The dashboard.
        Viewer   get  "/" => pages::overview;
        // A login page needs it before anybody is known, and it tells nothing.
        Anyone   get  "/assets/{file}" => pages::asset;
    }
    // These stream, or wait for something that may take days: a reader that goes away ends them.
    streaming {
        Viewer   get  "/v1/wait" => reads::wait;
        Viewer   get  "/v1/facts" => facts::follow;
        Viewer   get  "/live" => pages::follow;
        Viewer   get  "/v1/tasks/{project}/{id}/logs" => tasks::logs;
        Viewer   get  "/v1/tasks/{project}/{id}/diff" => tasks::diff;
        Viewer   get  "/v1/tasks/{project}/{id}/resolve" => tasks::conflict;
        Operator post "/v1/tasks/{project}/{id}/resolve" => tasks::resolve;
        Operator post "/v1/repos/{project}/push" => repos::push;
        Viewer   get  "/v1/repos/{project}/bundle" => repos::bundle;
        Node     get  "/v1/nodes/repos/{project}" => nodes::repository;
        Node     get  "/v1/nodes/repos/{project}/bundle" => nodes::bundle;
        Node     get  "/v1/nodes/blobs/{id}" => nodes::blob;
        Node     post "/v1/nodes/attempts/{project}/{id}/{number}/result" => nodes::result;
        Node     post "/v1/nodes/attempts/{project}/{id}/{number}/log" => nodes::shipped_log;
        Node     post "/v1/nodes/logs/{channel}" => nodes::live_log;
    }
}

/// The least that it takes to ask this. A path that has no entry is refused to everyone; a method that a path does not take
/// is answered (405) to whoever may look.
pub(super) fn least(method: &Method, path: &str) -> Result<Access, ApiError> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut of_path = ROUTES.iter().filter(|route| route.path == path).peekable();
    if of_path.peek().is_none() {
        return Err(ApiError::internal(format!("the route {path} has no entry in the table of routes")));
    }
    let entry = of_path.find(|route| method.as_str().eq_ignore_ascii_case(route.method));
    Ok(entry.map_or(Access::Viewer, |route| route.least))
}

/// The whole API over a backend, of a node that is no part of a cluster.
pub fn router(backend: Arc<dyn Backend>, limits: Limits) -> Router {
    router_of(backend, None, limits)
}

/// The whole API over a backend and a cluster. Requests without a [`Caller`](super::Caller) are refused.
pub fn router_of(backend: Arc<dyn Backend>, cluster: Option<Arc<Cluster>>, limits: Limits) -> Router {
    let dashboard = Arc::new(Dashboard::new(backend.clone()));
    let api = Api { backend, cluster, limits, dashboard };
    let plan_size = usize::try_from(limits.plan_size).unwrap_or(usize::MAX);
    let timely = middleware::from_fn_with_state(api.clone(), in_time);
    large()
        .layer(DefaultBodyLimit::max(plan_size))
        .merge(bounded().layer(DefaultBodyLimit::max(MESSAGE_MAX)))
        .layer(timely)
        .merge(streaming())
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
                "there are plans, projects, tasks, agents, hosts, merges, repos, facts, status and wait, each below /v1/",
            )
        })
        .layer(middleware::from_fn_with_state(api.clone(), access::authorize))
        .layer(middleware::from_fn(dashboard::frame))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_an_entry_is_for_nobody() {
        assert!(least(&Method::GET, "/v1/forgotten").is_err());
        assert_eq!(least(&Method::HEAD, "/healthz").unwrap(), Access::Anyone);
        assert_eq!(least(&Method::DELETE, "/v1/join").unwrap(), Access::Viewer);
    }

    #[test]
    fn no_entry_stands_twice() {
        for (index, route) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| (other.method, other.path) == (route.method, route.path);
            assert_eq!(ROUTES[index..].iter().filter(same).count(), 1, "{route:?}");
        }
    }
}
