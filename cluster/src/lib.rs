//! Links between the machines of a devstack cluster. This crate knows no tasks: what travels in a frame is bytes.

pub mod name;
pub mod peer;

pub use name::NodeName;
pub use peer::{PeerCertificate, Serial};
