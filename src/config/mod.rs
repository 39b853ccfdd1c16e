//! What people write for devstack to read: plan files ([`plan_file`]), profiles of agents ([`profile`]), the node's
//! configuration ([`node`]), addresses of repositories ([`remote`]) and secrets ([`secrets`]). All of it is parsed here, checked whole, and refused with place and fix.
//! Deliberately absent: acting on any of it.

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

pub use secrets::Secret;
