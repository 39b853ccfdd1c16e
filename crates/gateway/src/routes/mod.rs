//! The router, made from one table: the path and handler of each route, its minimum access, how it is served, and its
//! description beyond the signature. Limits on bodies and time; errors for unknown paths.
//! Deliberately absent: what handlers do.

mod agent;
mod backup;
mod cluster;
mod facts;
mod hosts;
mod nodes;
mod paging;
mod plans;
mod reads;
mod repos;
mod tags;
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
use serde_json::json;

use super::{
    ApiError, Backend,
    access::Access,
    admission::{self, Guards},
    browser::{Life, Sessions},
    cluster::Cluster,
    dashboard::{self, Dashboard, pages},
    error::code,
    metrics::{self, metrics},
    openapi::{self, Draft, Gives, Says, describe},
    throttle::Throttle,
};
use devstack_config::{node::Limits, problem::Problem};
use devstack_members::audit::Audit;

/// The maximum body of a request other than a plan or a bundle, in bytes: the message of a user.
pub(super) const MESSAGE_MAX: usize = 64 << 10;

/// The state of all handlers.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) limits: Limits,
    pub(super) guards: Guards,
    pub(super) dashboard: Arc<Dashboard>,
}

impl Api {
    /// The cluster of this node.
    pub(super) fn cluster(&self) -> Result<&Cluster, ApiError> {
        self.cluster.as_deref().ok_or_else(|| {
            ApiError::state(code::NO_CLUSTER, "this node is not the Taskmaster of a cluster")
                .hint("create a cluster with `devstack cluster init`, then restart the node")
        })
    }
}

/// One entry of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The minimum access.
    pub least: Access,
    /// `get` or `post`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// How it is served.
    pub group: Group,
    /// The description; `None`: the route is not described.
    pub says: Option<Says>,
}

impl Route {
    /// Whether the answers have an ETag.
    pub fn is_tagged(&self) -> bool {
        matches!(self.group, Group::Versioned | Group::Digested)
    }
}

/// The middleware around a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The body can be as large as a plan.
    Large,
    /// Body and time are limited.
    Bounded,
    /// Limited; the answer depends only on the engine, and the engine's version is its tag.
    Versioned,
    /// Limited; the tag is a digest of the answer.
    Digested,
    /// Body and time are not limited here: the request ends when the client disconnects.
    Streaming,
    /// Streaming; the body is spooled to a file until it is complete, and a caller can have one such request at a time.
    Spooling,
}

impl Group {
    /// Whether the router limits neither body nor time.
    pub(super) fn is_streaming(self) -> bool {
        matches!(self, Self::Streaming | Self::Spooling)
    }
}

macro_rules! routes {
    ($($group:ident in $kind:ident {
        $($(#[doc = $line:literal])* $least:ident $method:ident $path:literal => $handler:path
            $(, also [$($status:literal),*])?;)*
    })*) => {
        /// Every route of the API.
        pub const ROUTES: &[Route] = &[$($(
            Route {
                least: Access::$least,
                method: stringify!($method),
                path: $path,
                group: Group::$kind,
                says: says!([$($line)*] $handler, [$($($status),*)?]),
            },
        )*)*];

        $(fn $group() -> Router<Api> {
            Router::new()$(.route($path, $method($handler)))*
        })*
    };
}

/// A route without a sentence is not described.
macro_rules! says {
    ([] $handler:path, $also:tt) => {
        None
    };
    ([$($line:literal)+] $handler:path, $also:tt) => {
        Some(Says { lines: &[$($line),+], draft: || describe($handler), also: &$also })
    };
}

routes! {
    large in Large {
        /// Add or update a plan.
        /// The body is a self-contained plan file, TOML or JSON. Tasks are matched by id and added, changed or left
        /// alone.
        Operator post "/v1/plans" => plans::submit;
    }
    versioned in Versioned {
        /// List submissions, by project, oldest first.
        Viewer   get  "/v1/plans" => plans::list, also [404];
        /// Show the tasks of a project as a plan file, which can be submitted again.
        Viewer   get  "/v1/plans/{project}" => plans::show;
        /// List projects by name.
        Viewer   get  "/v1/projects" => reads::projects;
        /// Show a project.
        Viewer   get  "/v1/projects/{project}" => reads::project;
        /// List tasks, by project, in the order of submission.
        Viewer   get  "/v1/tasks" => tasks::list, also [404];
        /// Show everything about a task.
        Viewer   get  "/v1/tasks/{project}/{id}" => tasks::show;
        /// List agents, busy and idle.
        Viewer   get  "/v1/agents" => reads::agents;
        /// List completed merges, by project, oldest first.
        Viewer   get  "/v1/merges" => reads::merges, also [404];
    }
    digested in Digested {
        /// List hosts by name.
        Viewer   get  "/v1/hosts" => hosts::list;
        /// Show everything about a host.
        Viewer   get  "/v1/hosts/{host}" => hosts::show;
        /// Show an overview of everything.
        Viewer   get  "/v1/status" => reads::status;
        /// Show the cluster and its machines.
        Viewer   get  "/v1/cluster" => cluster::show, also [409];
        /// List tokens, without their secrets.
        Admin    get  "/v1/tokens" => cluster::tokens, also [409];
        /// List the audit log, newest line first.
        /// Every requested change, done or refused: who, when, what, and the outcome. Bodies are never logged.
        Admin    get  "/v1/audit" => cluster::changes;
        /// Get this description.
        Viewer   get  "/v1/openapi.json" => spec;
    }
    bounded in Bounded {
        /// Reject all unfinished tasks of a project.
        Operator post "/v1/plans/{project}/cancel" => plans::cancel;
        /// Pause a project: start no more attempts.
        Operator post "/v1/projects/{project}/pause" => plans::pause;
        /// Resume a project: start attempts again.
        Operator post "/v1/projects/{project}/resume" => plans::resume;
        /// Explain the state of a task in a paragraph.
        Viewer   get  "/v1/tasks/{project}/{id}/explain" => tasks::explain;
        /// Show the exact prompt of a task's next attempt.
        Viewer   get  "/v1/tasks/{project}/{id}/prompt" => tasks::prompt;
        /// Stop the running attempt without charging it.
        Operator post "/v1/tasks/{project}/{id}/stop" => tasks::stop;
        /// Retry a task, with a hint for the agent.
        Operator post "/v1/tasks/{project}/{id}/retry" => tasks::retry;
        /// Reject a task permanently.
        Operator post "/v1/tasks/{project}/{id}/reject" => tasks::reject;
        /// Approve a task in REVIEW for merging.
        Operator post "/v1/tasks/{project}/{id}/approve" => tasks::approve;
        /// Request changes of a task in REVIEW.
        Operator post "/v1/tasks/{project}/{id}/request-changes" => tasks::request_changes;
        /// Show what was uploaded from a user's repository.
        Operator get  "/v1/repos/{project}" => repos::show;
        /// Drain a host: give it no more attempts.
        Operator post "/v1/hosts/{host}/drain" => hosts::drain;
        /// Undrain a host: give it attempts again.
        Operator post "/v1/hosts/{host}/undrain" => hosts::undrain;
        /// Set the limits of a host, whatever it claims: slots, labels, roles, projects, names of secrets.
        Admin    post "/v1/hosts/{host}" => hosts::set;
        /// Remove a host and end its membership.
        Admin    post "/v1/hosts/{host}/remove" => hosts::remove;
        /// Create a token.
        /// The token is shown only in this answer.
        Admin    post "/v1/tokens" => cluster::create_token;
        /// Revoke a token. It is refused from now on.
        Admin    post "/v1/tokens/{id}/revoke" => cluster::revoke_token;
        /// Join a machine to the cluster.
        /// The join token in the body is the proof.
        Anyone   post "/v1/join" => cluster::join, also [401, 403];
        Node     post "/v1/renew" => cluster::renew;
        /// Check whether the process is alive.
        Anyone   get  "/healthz" => reads::healthy;
        /// Check whether the node accepts commands.
        Anyone   get  "/readyz" => reads::ready;
        /// Get the metrics.
        Viewer   get  "/metrics" => metrics;
        // The dashboard.
        Viewer   get  "/" => pages::overview;
        Viewer   get  "/board" => pages::board;
        Viewer   get  "/tasks" => pages::tasks;
        Viewer   get  "/tasks/{project}/{id}" => pages::task;
        Viewer   get  "/tasks/{project}/{id}/diff" => pages::changes;
        Viewer   get  "/tasks/{project}/{id}/conflict" => pages::conflict;
        Operator get  "/tasks/{project}/{id}/act/{action}" => pages::ask_task;
        Operator post "/tasks/{project}/{id}/act/{action}" => pages::act_task;
        Operator get  "/projects/{project}/act/{action}" => pages::ask_project;
        Operator post "/projects/{project}/act/{action}" => pages::act_project;
        Operator get  "/hosts/{host}/act/{action}" => pages::ask_host;
        Operator post "/hosts/{host}/act/{action}" => pages::act_host;
        Viewer   get  "/dag" => pages::graph;
        Viewer   get  "/gantt" => pages::timeline;
        Viewer   get  "/hosts" => pages::hosts;
        Viewer   get  "/merges" => pages::merges;
        Viewer   get  "/facts" => pages::facts;
        // The login page needs these files before the user is known, and they reveal nothing.
        Anyone   get  "/assets/{file}" => pages::asset;
        // The token in the form is the proof.
        Anyone   get  "/login" => pages::login;
        Anyone   post "/login" => pages::log_in;
        Viewer   post "/logout" => pages::log_out;
        Viewer   get  "/dashboard/export" => pages::export;
    }
    streaming in Streaming {
        /// Back up this Taskmaster.
        /// The answer is a tar file that includes keys. It is complete or breaks off; check its end.
        Admin    get  "/v1/backup" => backup::take;
        /// Wait until tasks are settled: completed, or waiting for a person.
        Viewer   get  "/v1/wait" => reads::wait, also [404];
        /// Get facts, as a stream of new facts or as a page of the history.
        /// A client that accepts `application/json` and not `text/event-stream` gets a page; any other client gets the
        /// stream.
        Viewer   get  "/v1/facts" => facts::follow;
        Viewer   get  "/live" => pages::follow;
        Viewer   get  "/tasks/{project}/{id}/log" => pages::log;
        /// Get the output of an attempt.
        Viewer   get  "/v1/tasks/{project}/{id}/logs" => tasks::logs;
        /// Get the changes of the newest commit.
        Viewer   get  "/v1/tasks/{project}/{id}/diff" => tasks::diff;
        /// Get what a person needs to complete a task by hand.
        Viewer   get  "/v1/tasks/{project}/{id}/resolve" => tasks::conflict, also [409];
        /// Get the integration branch, from an offset on.
        Viewer   get  "/v1/repos/{project}/bundle" => repos::bundle;
        Node     get  "/v1/nodes/repos/{project}" => nodes::repository;
        Node     get  "/v1/nodes/repos/{project}/bundle" => nodes::bundle;
        Node     get  "/v1/nodes/blobs/{id}" => nodes::blob;
        Node     post "/v1/nodes/attempts/{project}/{id}/{number}/result" => nodes::result;
        Node     post "/v1/nodes/attempts/{project}/{id}/{number}/log" => nodes::shipped_log;
        Node     post "/v1/nodes/logs/{channel}" => nodes::live_log;
    }
    spooling in Spooling {
        /// Hand in a person's result.
        /// The body is a bundle. It passes quarantine, checks and merge.
        Operator post "/v1/tasks/{project}/{id}/resolve" => tasks::resolve;
        /// Upload a part of a repository's history.
        Operator post "/v1/repos/{project}/push" => repos::push, also [409, 413, 422];
    }
}

/// The API description, with the limits of this node.
async fn spec(State(api): State<Api>) -> Description {
    Description(openapi::document(&api.limits))
}

struct Description(serde_json::Value);

impl IntoResponse for Description {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl Gives for Description {
    fn gives(draft: &mut Draft) {
        draft.gives("application/json", json!({ "type": "object", "required": ["openapi", "paths"] }));
    }
}

/// Checks access to a route and applies its group. A path without an entry is refused to everyone; for an unsupported
/// method, a caller with read access gets 405.
pub(super) fn least(method: &Method, path: &str) -> Result<(Access, Option<Group>), ApiError> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut of_path = ROUTES.iter().filter(|route| route.path == path).peekable();
    if of_path.peek().is_none() {
        return Err(ApiError::internal(format!("the route {path} has no entry in the table of routes")));
    }
    let entry = of_path.find(|route| method.as_str().eq_ignore_ascii_case(route.method));
    Ok(entry.map_or((Access::Viewer, None), |route| (route.least, Some(route.group))))
}

/// The whole API over a backend, for a node without a cluster.
pub fn router(backend: Arc<dyn Backend>, limits: Limits) -> Router {
    router_of(backend, None, None, limits)
}

/// The whole API over a backend, a cluster and the audit log. Requests without a [`Caller`](super::Caller) are refused.
pub fn router_of(
    backend: Arc<dyn Backend>,
    cluster: Option<Arc<Cluster>>,
    audit: Option<Arc<Audit>>,
    limits: Limits,
) -> Router {
    let guards = Guards { throttle: Throttle::new(&limits), audit };
    let dashboard = Arc::new(Dashboard::new(backend.clone()));
    let sessions = Arc::new(Sessions::new(Life::of(&limits)));
    let api = Api { backend, cluster, sessions, limits, guards, dashboard };
    let plan_size = usize::try_from(limits.plan_size).unwrap_or(usize::MAX);
    let timely = middleware::from_fn_with_state(api.clone(), in_time);
    large()
        .layer(DefaultBodyLimit::max(plan_size))
        .merge(
            versioned()
                .layer(middleware::from_fn_with_state(api.clone(), tags::by_version))
                .merge(digested().layer(middleware::from_fn(tags::by_digest)))
                .merge(bounded())
                .layer(DefaultBodyLimit::max(MESSAGE_MAX)),
        )
        .layer(timely)
        .merge(streaming())
        .merge(spooling())
        .method_not_allowed_fallback(|| async {
            not_there(
                405,
                "this path does not support this method",
                "the header `allow` of this answer lists the supported methods",
            )
        })
        .fallback(|| async {
            not_there(
                404,
                "unknown path",
                "the paths below /v1/ are plans, projects, tasks, agents, hosts, merges, repos, facts, status and wait",
            )
        })
        .layer(middleware::from_fn_with_state(api.clone(), admission::admit))
        .layer(middleware::from_fn(dashboard::frame))
        .layer(middleware::from_fn(metrics::count))
        .with_state(api)
}

fn not_there(status: u16, message: &str, hint: &str) -> ApiError {
    ApiError::new(status, Problem::new(code::NO_ROUTE, message).hint(hint))
}

/// Ends a request that takes too long. Its outcome is then unknown.
async fn in_time(State(api): State<Api>, request: Request, next: Next) -> Response {
    let limit = Duration::from_millis(api.limits.request_timeout);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timed_out(format!("no answer within {} s", limit.as_secs_f64())).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_an_entry_is_for_nobody() {
        assert!(least(&Method::GET, "/v1/forgotten").is_err());
        assert_eq!(least(&Method::HEAD, "/healthz").unwrap().0, Access::Anyone);
        assert_eq!(least(&Method::DELETE, "/v1/join").unwrap(), (Access::Viewer, None));
    }

    #[test]
    fn no_entry_stands_twice() {
        for (index, route) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| (other.method, other.path) == (route.method, route.path);
            assert_eq!(ROUTES[index..].iter().filter(same).count(), 1, "{route:?}");
        }
    }
}
