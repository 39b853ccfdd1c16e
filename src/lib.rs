//! devstack: a plan becomes merged commits. The folder tree is the architecture; see `docs/architecture.md`.
//!
//! This package has the two programs, and one name for each part of what they are made of: what its tests and
//! benchmarks use.

pub use devstack_api::outgoing;
pub use devstack_backup as backup;
pub use devstack_cli as cli;
pub use devstack_config as config;
pub use devstack_exchange as exchange;
pub use devstack_machine::{allocator, disk, memory, notify};
pub use devstack_members as members;
pub use devstack_members::audit;
pub use devstack_node::{actor, agent_host, devops, downlink, node, taskmaster, traces, uplink, webhook, wire};
pub use devstack_repository as repository;
pub use devstack_repository::helper;
pub use devstack_runtime as runtime;
pub use devstack_store as store;
pub use devstack_store::fault;
pub use devstack_telemetry as telemetry;

/// The API and its ends.
pub mod gateway {
    pub use devstack_api::{ApiError, ByteStream, bounds, dto, error, https};
    pub use devstack_draw as draw;
    pub use devstack_gateway::*;
}
