//! devstack: a plan becomes merged commits. The folder tree is the architecture; see `docs/architecture.md`.

pub mod actor;
pub mod agent_host;
pub mod allocator;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod config;
pub mod devops;
pub mod downlink;
pub mod exchange;
pub mod fault;
pub mod gateway;
pub mod helper;
pub mod members;
pub mod node;
pub mod notify;
pub mod outgoing;
pub mod repository;
pub mod runtime;
pub mod store;
pub mod taskmaster;
pub mod telemetry;
pub mod traces;
pub mod uplink;
pub mod webhook;
pub mod wire;
