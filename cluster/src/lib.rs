//! Links between the machines of a devstack cluster. This crate knows no tasks: what travels in a frame is bytes.

pub mod ca;
pub mod credentials;
pub mod files;
pub mod fingerprint;
pub mod hex;
pub mod join_token;
pub mod name;
pub mod peer;
pub mod tls;

pub use ca::{CaError, ClusterCa, Issued, SigningRequest};
pub use credentials::{Credentials, CredentialsError, NodeKey};
pub use fingerprint::Fingerprint;
pub use join_token::{JoinToken, TokenId, TokenSecret};
pub use name::NodeName;
pub use peer::{PeerCertificate, Serial};
