//! What the registry refuses, and what fails under it.

use std::{io, path::PathBuf};

use devstack_cluster::{CaError, CredentialsError};

/// A refusal, or a failure.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// The cluster was made before: use it.
    #[error("there is a cluster in {0} already")]
    Exists(PathBuf),
    /// The disk fails.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The registry cannot be understood: restore it.
    #[error("{path} is damaged: {reason}; restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No such token, or another secret: who does not know the secret is told no more.
    #[error("the join token is not known here")]
    UnknownToken,
    /// It was used before: make another.
    #[error("the join token was used before, by {0}")]
    UsedToken(String),
    /// Its time is over: make another.
    #[error("the join token has expired")]
    ExpiredToken,
    /// A person revoked it: make another.
    #[error("the join token was revoked")]
    RevokedToken,
    /// It is for people: make one for agent hosts.
    #[error("the token is for people with the role {0}, and not for joining")]
    NotForJoining(&'static str),
    /// A live member has the name, or one that differs only in case.
    #[error("{0} is a member of the cluster already")]
    NameTaken(String),
    /// Machines that ask for the Taskmaster by this name would reach another.
    #[error("the name {0} is the Taskmaster's own")]
    NameReserved(String),
    /// The signing request is none.
    #[error("the signing request is refused: {0}")]
    Request(String),
    /// Not a member, not any more, or one whose certificate was replaced.
    #[error("{name} is refused: {why}")]
    NotAMember {
        /// The name of its certificate.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// There is no such token to revoke.
    #[error("there is no token `{0}`")]
    NoToken(String),
    /// There is no such member to remove.
    #[error("there is no member `{0}`")]
    NoMember(String),
    /// The Taskmaster cannot be removed from its own cluster.
    #[error("{0} is the Taskmaster itself")]
    IsTaskmaster(String),
    /// A live token has the name already.
    #[error("there is a token with the name `{0}` already")]
    TokenNameTaken(String),
    /// A token's name or time that is none.
    #[error("{0}")]
    BadToken(String),
    /// Too many: revoke or remove some.
    #[error("there are {0} already, which is the most")]
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
