//! Refusals of the registry, and failures below it.

use std::{io, path::PathBuf};

use devstack_cluster::{CaError, CredentialsError};

/// A refusal, or a failure.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The cluster already exists: use it.
    #[error("a cluster already exists in {0}")]
    Exists(PathBuf),
    /// The disk fails.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The registry cannot be parsed: restore it.
    #[error("{path} is damaged: {reason}; restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// No such token, or a wrong secret. A caller without the secret is told no more.
    #[error("unknown join token")]
    UnknownToken,
    /// The token was already used: create another.
    #[error("the join token was already used, by {0}")]
    UsedToken(String),
    /// The token has expired: create another.
    #[error("the join token has expired")]
    ExpiredToken,
    /// An administrator revoked the token: create another.
    #[error("the join token was revoked")]
    RevokedToken,
    /// The token is for API access: create one for agent hosts.
    #[error("this token is for API access with the role {0}, not for joining")]
    NotForJoining(&'static str),
    /// A live member has this name, or one that differs only in case.
    #[error("{0} is already a member of the cluster")]
    NameTaken(String),
    /// Machines that connect to the Taskmaster by this name would reach another machine.
    #[error("{0} is the name of the Taskmaster")]
    NameReserved(String),
    /// The signing request is invalid.
    #[error("the signing request is refused: {0}")]
    Request(String),
    /// Not a member, no longer a member, or a member whose certificate was replaced.
    #[error("{name} is refused: {why}")]
    NotAMember {
        /// The name in the certificate.
        name: String,
        /// The cause.
        why: &'static str,
    },
    /// There is no such token to revoke.
    #[error("no token `{0}`")]
    NoToken(String),
    /// There is no such member to remove.
    #[error("no member `{0}`")]
    NoMember(String),
    /// The Taskmaster cannot be removed from its own cluster.
    #[error("{0} is the Taskmaster itself")]
    IsTaskmaster(String),
    /// A live token already has this name.
    #[error("a token named `{0}` already exists")]
    TokenNameTaken(String),
    /// A token's name or lifetime is invalid.
    #[error("{0}")]
    BadToken(String),
    /// Too many tokens or members: revoke or remove some.
    #[error("limit reached: {0}")]
    Full(&'static str),
    /// The CA cannot be used.
    #[error(transparent)]
    Ca(CaError),
    /// The node's own certificate cannot be made.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl From<CaError> for MembersError {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Request(why) => Self::Request(why),
            other => Self::Ca(other),
        }
    }
}

impl From<getrandom::Error> for MembersError {
    fn from(error: getrandom::Error) -> Self {
        Self::Ca(CaError::Random(error))
    }
}
