//! The HTTP API (`/v1`) and the dashboard (`/`): handlers, answers and errors over one object-safe trait, [`Backend`],
//! and the [`Cluster`].
//! On the unix socket the file's mode decides who may ask, on TCP a token or a certificate ([`access`]).
//! Deliberately absent: deciding anything (the engine and the registry do), and vendor types in answers.

pub mod access;
mod admission;
pub mod backend;
mod bounds;
pub mod browser;
mod cluster;
mod dashboard;
pub mod draw;
pub mod dto;
pub mod error;
mod extract;
pub mod https;
mod metrics;
pub mod openapi;
pub mod query;
mod routes;
pub mod server;
mod throttle;
pub mod view;

pub use access::{Access, Caller, Origin, Peer};
pub use backend::{
    Backend, ByteStream, Download, FactPage, FactSearch, FactStream, GraphQuery, Nodes, Repos, RequestId, WaitQuery,
    Wanted,
};
pub use cluster::Cluster;
pub use error::ApiError;
pub use metrics::Standing;
pub use query::{NumberedQuery, TaskFilter, TaskQuery};
pub use routes::agent_router;
pub use routes::{ROUTES, Route, router, router_of};

/// The dashboard as one HTML file that needs nothing else: of one project, or of all.
///
/// # Errors
/// There is no such project, or the core does not answer.
pub async fn export(
    backend: &dyn Backend,
    project: Option<devstack_dag::ids::ProjectName>,
) -> Result<String, ApiError> {
    dashboard::exported(backend, project).await
}
