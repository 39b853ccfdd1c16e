//! The HTTP API (`/v1`) and the dashboard (`/`): handlers, answers and errors over one object-safe trait, [`Backend`],
//! and the [`Cluster`]. On the unix socket the mode of the file decides who has access; on TCP a token or a certificate
//! does ([`access`]).
//! Deliberately absent: decisions (the engine and the registry make them), and vendor types in answers.

pub mod access;
mod admission;
pub mod backend;
pub mod browser;
mod cluster;
mod dashboard;
mod extract;
mod metrics;
pub mod openapi;
pub mod pages;
pub mod query;
mod routes;
pub mod server;
mod throttle;
pub mod view;

pub use access::{Access, Caller, Origin, Peer};
pub use backend::{
    Backend, Download, FactPage, FactSearch, FactStream, GraphQuery, Nodes, Repos, RequestId, WaitQuery, Wanted,
};
pub use cluster::Cluster;
pub use devstack_api::{ApiError, ByteStream};
use devstack_api::{dto, error};
pub use metrics::Standing;
pub use query::{NumberedQuery, TaskFilter, TaskQuery};
pub use routes::agent_router;
pub use routes::{ROUTES, Route, router, router_of};

/// The dashboard as one self-contained HTML file, for one project or all.
///
/// # Errors
/// The project does not exist, or the core does not answer.
pub async fn export(
    backend: &dyn Backend,
    project: Option<devstack_dag::ids::ProjectName>,
) -> Result<String, ApiError> {
    dashboard::exported(backend, project).await
}
