//! Files that people write for devstack: plan files ([`plan_file`]), profiles of agents ([`profile`]), the node's
//! configuration ([`node`]), addresses of repositories ([`remote`]) and secrets ([`secrets`]). This crate parses and
//! checks them completely. It refuses each mistake with its place and a fix.
//! Deliberately absent: acting on the content.

pub mod context;
mod labels;
pub mod node;
pub mod plan_file;
pub mod problem;
pub mod profile;
pub mod protected;
pub mod remote;
pub mod secrets;
mod section;
mod suggest;
mod tree;
pub mod units;
pub mod url;

pub use secrets::Secret;
