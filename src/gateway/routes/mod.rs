//! The router, made from one table: which path is which handler, the least that it takes to ask, how it is served, and what
//! the description says of it beyond its signature. Limits on bodies and time; errors for what is not there.
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
use crate::{
    audit::Audit,
    config::{node::Limits, problem::Problem},
};

/// The largest body of a request that is neither a plan nor a bundle, in bytes: a person's message.
pub(super) const MESSAGE_MAX: usize = 64 << 10;

/// What every handler sees.
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
            ApiError::state(code::NO_CLUSTER, "this node is the Taskmaster of no cluster")
                .hint("`devstack cluster init` makes one; then restart the node")
        })
    }
}

/// One entry of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The least that it takes to ask.
    pub least: Access,
    /// `get` or `post`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// How it is served.
    pub group: Group,
    /// What the description says of it; `None`: it has no place there.
    pub says: Option<Says>,
}

impl Route {
    /// Have its answers an ETag?
    pub fn is_tagged(&self) -> bool {
        matches!(self.group, Group::Versioned | Group::Digested)
    }
}

/// What is done around a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The body is as large as a plan may be.
    Large,
    /// Body and time are bounded.
    Bounded,
    /// As bounded; the answer is the engine's alone, and the engine's version is its tag.
    Versioned,
    /// As bounded; the tag is a digest of the answer.
    Digested,
    /// Neither body nor time is bounded here: a reader that goes away ends it.
    Streaming,
    /// As streaming; the body is kept in a file until it is whole, and a caller has one of these at a time.
    Spooling,
}

impl Group {
    /// Is neither body nor time bounded by the router?
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
        /// Submit a plan, or bring it up to date.
        /// The body is a plan file, TOML or JSON, that stands alone. Tasks are added, changed or left alone by their ids.
        Operator post "/v1/plans" => plans::submit;
    }
    versioned in Versioned {
        /// Submissions, by project, oldest first.
        Viewer   get  "/v1/plans" => plans::list, also [404];
        /// The project's tasks as a plan file, which can be posted again.
        Viewer   get  "/v1/plans/{project}" => plans::show;
        /// Projects by name.
        Viewer   get  "/v1/projects" => reads::projects;
        /// One project.
        Viewer   get  "/v1/projects/{project}" => reads::project;
        /// Tasks, by project, in the order of their submission.
        Viewer   get  "/v1/tasks" => tasks::list, also [404];
        /// Everything about one task.
        Viewer   get  "/v1/tasks/{project}/{id}" => tasks::show;
        /// Agents: those that work, and idle ones.
        Viewer   get  "/v1/agents" => reads::agents;
        /// Landed merges, by project, oldest first.
        Viewer   get  "/v1/merges" => reads::merges, also [404];
    }
    digested in Digested {
        /// Hosts by name.
        Viewer   get  "/v1/hosts" => hosts::list;
        /// Everything about one host.
        Viewer   get  "/v1/hosts/{host}" => hosts::show;
        /// The whole at a glance.
        Viewer   get  "/v1/status" => reads::status;
        /// The cluster and its machines.
        Viewer   get  "/v1/cluster" => cluster::show, also [409];
        /// Tokens, without their secrets.
        Admin    get  "/v1/tokens" => cluster::tokens, also [409];
        /// The log of changes, the newest line first.
        /// Every change that was asked for, done or refused: who, when, what, and how it ended. Never a body.
        Admin    get  "/v1/audit" => cluster::changes;
        /// This description.
        Viewer   get  "/v1/openapi.json" => spec;
    }
    bounded in Bounded {
        /// Give up what has not landed.
        Operator post "/v1/plans/{project}/cancel" => plans::cancel;
        /// Start no more attempts of a project.
        Operator post "/v1/projects/{project}/pause" => plans::pause;
        /// Start attempts of a project again.
        Operator post "/v1/projects/{project}/resume" => plans::resume;
        /// Why a task is where it is, in a paragraph.
        Viewer   get  "/v1/tasks/{project}/{id}/explain" => tasks::explain;
        /// What the agent of a task's next attempt reads, to the byte.
        Viewer   get  "/v1/tasks/{project}/{id}/prompt" => tasks::prompt;
        /// End the running attempt, uncharged.
        Operator post "/v1/tasks/{project}/{id}/stop" => tasks::stop;
        /// Try a task again, with a hint for the agent.
        Operator post "/v1/tasks/{project}/{id}/retry" => tasks::retry;
        /// Give a task up.
        Operator post "/v1/tasks/{project}/{id}/reject" => tasks::reject;
        /// Let a task in REVIEW go on to its merge.
        Operator post "/v1/tasks/{project}/{id}/approve" => tasks::approve;
        /// Send a task in REVIEW back with what to change.
        Operator post "/v1/tasks/{project}/{id}/request-changes" => tasks::request_changes;
        /// What was uploaded of a person's repository.
        Operator get  "/v1/repos/{project}" => repos::show;
        /// Give a host no more attempts.
        Operator post "/v1/hosts/{host}/drain" => hosts::drain;
        /// Give a host attempts again.
        Operator post "/v1/hosts/{host}/undrain" => hosts::undrain;
        /// Say what a host is held to, whatever it claims: slots, labels, roles, projects, names of secrets.
        Admin    post "/v1/hosts/{host}" => hosts::set;
        /// End the membership of a host, and forget it.
        Admin    post "/v1/hosts/{host}/remove" => hosts::remove;
        /// Make a token. This is the only time that it is shown.
        Admin    post "/v1/tokens" => cluster::create_token;
        /// Revoke a token: it is refused from now on.
        Admin    post "/v1/tokens/{id}/revoke" => cluster::revoke_token;
        /// Make a machine a member.
        /// The join token in the body is the proof.
        Anyone   post "/v1/join" => cluster::join, also [401, 403];
        Node     post "/v1/renew" => cluster::renew;
        /// Is the process there?
        Anyone   get  "/healthz" => reads::healthy;
        /// Can it take commands?
        Anyone   get  "/readyz" => reads::ready;
        /// Metrics.
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
        // A login page needs it before anybody is known, and it tells nothing.
        Anyone   get  "/assets/{file}" => pages::asset;
        // The token in the form is the proof.
        Anyone   get  "/login" => pages::login;
        Anyone   post "/login" => pages::log_in;
        Viewer   post "/logout" => pages::log_out;
        Viewer   get  "/dashboard/export" => pages::export;
    }
    streaming in Streaming {
        /// Back up this Taskmaster: a tar file, keys included.
        /// It ends whole or breaks off: whoever reads it checks its end.
        Admin    get  "/v1/backup" => backup::take;
        /// Wait until tasks are settled: done, or in need of a person.
        Viewer   get  "/v1/wait" => reads::wait, also [404];
        /// Facts: a stream of what happens, or a page of the history.
        /// Who accepts `application/json` and no `text/event-stream` gets a page, everybody else the stream.
        Viewer   get  "/v1/facts" => facts::follow;
        Viewer   get  "/live" => pages::follow;
        Viewer   get  "/tasks/{project}/{id}/log" => pages::log;
        /// The output of an attempt.
        Viewer   get  "/v1/tasks/{project}/{id}/logs" => tasks::logs;
        /// What the newest commit changes.
        Viewer   get  "/v1/tasks/{project}/{id}/diff" => tasks::diff;
        /// What a person needs to do a task by hand.
        Viewer   get  "/v1/tasks/{project}/{id}/resolve" => tasks::conflict, also [409];
        /// The integration branch, from a byte on.
        Viewer   get  "/v1/repos/{project}/bundle" => repos::bundle;
        Node     get  "/v1/nodes/repos/{project}" => nodes::repository;
        Node     get  "/v1/nodes/repos/{project}/bundle" => nodes::bundle;
        Node     get  "/v1/nodes/blobs/{id}" => nodes::blob;
        Node     post "/v1/nodes/attempts/{project}/{id}/{number}/result" => nodes::result;
        Node     post "/v1/nodes/attempts/{project}/{id}/{number}/log" => nodes::shipped_log;
        Node     post "/v1/nodes/logs/{channel}" => nodes::live_log;
    }
    spooling in Spooling {
        /// Hand in a person's result: a bundle, through quarantine, checks and merge.
        Operator post "/v1/tasks/{project}/{id}/resolve" => tasks::resolve;
        /// Send a part of a repository's history.
        Operator post "/v1/repos/{project}/push" => repos::push, also [409, 413, 422];
    }
}

/// The API's description, of this node's limits.
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

/// The least that it takes to ask this, and how it is served. A path that has no entry is refused to everyone; a method that a path does not take
/// is answered (405) to whoever may look.
pub(super) fn least(method: &Method, path: &str) -> Result<(Access, Option<Group>), ApiError> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut of_path = ROUTES.iter().filter(|route| route.path == path).peekable();
    if of_path.peek().is_none() {
        return Err(ApiError::internal(format!("the route {path} has no entry in the table of routes")));
    }
    let entry = of_path.find(|route| method.as_str().eq_ignore_ascii_case(route.method));
    Ok(entry.map_or((Access::Viewer, None), |route| (route.least, Some(route.group))))
}

/// The whole API over a backend, of a node that is no part of a cluster.
pub fn router(backend: Arc<dyn Backend>, limits: Limits) -> Router {
    router_of(backend, None, None, limits)
}

/// The whole API over a backend, a cluster and the log of changes. Requests without a [`Caller`](super::Caller) are refused.
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
        .layer(middleware::from_fn_with_state(api.clone(), admission::admit))
        .layer(middleware::from_fn(dashboard::frame))
        .layer(middleware::from_fn(metrics::count))
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
