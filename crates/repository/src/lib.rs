//! The only crate that uses git: the trusted bare **hub** of a project, the user's **source** beside it, and everything
//! that moves between them. `git2` and the `git` command are used here and nowhere else.
//!
//! | file | what it does |
//! |---|---|
//! | [`git`] | runs the host's `git` with a cleared environment, deadlines and bounded output |
//! | [`durable`] | the few steps that make objects and refs survive a power cut |
//! | [`hub`], `hubs` | creates and opens the hub, its head, its lock; each opened once per node |
//! | [`pins`] | `refs/devstack/attempts/<task>/<n>`: commits of attempts stay reachable |
//! | [`merge`], [`publish`] | prepare a merge without moving a ref; move the ref and prove it |
//! | [`quarantine`], `pack` | takes a bundle from an untrusted host: indexes it, has it judged, lands what passed |
//! | `judge`, [`policy`], [`secrets`], `trees` | the judgement, and the tree walks that it uses |
//! | [`worker`] | the helper process that judges results and makes diffs |
//! | [`source`], [`sync`], [`deliver`] | the user's repository: read, follow, deliver |
//! | [`reach`] | which repositories a node may use, and the credentials for those behind a URL |
//! | [`inbox`], [`exchange`] | a source that a user uploads: the Taskmaster's end, and the user's end |
//! | [`mirror`], [`bundle`] | the objects that workspaces borrow and receive |
//! | [`image`] | a repository's files, copied while it is in use |
//! | [`starter`] | an example repository and a drawn history, for `quickstart` |
//! | [`checkout`] | a conflict checked out for a user, and the result on its way back |
//!
//! Everything here is synchronous and may block on the disk or on a process: callers run it on blocking threads, never
//! in an actor's handler. Deliberately absent: statuses, intents and retries (the engine decides those), workspaces of
//! agents (the runtime makes them), and opening a repository that an agent can write.

pub mod bundle;
mod bundle_header;
pub mod bundle_refs;
pub mod checkout;
pub mod deliver;
pub mod durable;
pub mod exchange;
pub mod git;
pub mod held;
pub mod helper;
pub mod history;
pub mod hub;
mod hubs;
pub mod image;
pub mod inbox;
mod judge;
pub mod lock;
pub mod merge;
pub mod message;
pub mod mirror;
mod pack;
pub mod pins;
pub mod policy;
pub mod publish;
pub mod quarantine;
pub mod reach;
mod scratch;
mod secret_rules;
pub mod secrets;
pub mod source;
pub mod starter;
pub mod sync;
mod trees;
pub mod worker;

use std::path::PathBuf;

use devstack_dag::ids::{AttemptId, CommitId};

pub use self::{
    durable::Durability,
    hub::{Hub, HubOptions},
    hubs::Hubs,
    inbox::Inbox,
    lock::ProjectLock,
    merge::{ConflictFound, Prepared},
    publish::Published,
};

/// Why a repository operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This host has no usable git.
    #[error("{0}; install git 2.38 or newer (Debian and Ubuntu: `apt-get install git`)")]
    NoGit(String),
    /// A git command failed; nothing was changed in the hub.
    #[error("`git {command}` failed: {detail}")]
    Git {
        /// Its subcommand.
        command: String,
        /// The end of its output.
        detail: String,
    },
    /// A source behind a URL does not answer, or refuses us; nothing was changed.
    #[error("the repository {place} cannot be reached: {detail}; check its address, the network and its credentials")]
    Unreachable {
        /// Its address, without a password.
        place: String,
        /// The first line of git's message.
        detail: String,
    },
    /// A git command was ended at its deadline or output limit.
    #[error("`git {command}` was ended: {detail}")]
    GitBounded {
        /// Its subcommand.
        command: String,
        /// Which limit.
        detail: String,
    },
    /// A step that durability needs has failed: the process must stop, and must not retry the step (a second fsync can
    /// succeed without having written anything).
    #[error("cannot make {path} durable: {source}; stop the node, fix the disk and start it again")]
    Unsynced {
        /// The path that was synced or moved.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The disk failed elsewhere.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The operation, as a verb.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The library failed.
    #[error("git library: {0}")]
    Library(#[from] git2::Error),
    /// A commit of an agent or a user cannot be read: it ended the helper twice.
    #[error("{0}")]
    Unreadable(String),
    /// A helper process could not do its job; nothing was changed, and the job may be retried later.
    #[error("{0}")]
    Worker(String),
    /// Another process or job holds the project; try again later.
    #[error("the project at {0} is busy: another job holds its lock; try again")]
    Busy(PathBuf),
    /// The lock was lost while held (the hub was moved or replaced): nothing was changed.
    #[error("the lock of {0} was lost; the hub was moved or replaced while in use")]
    LockLost(PathBuf),
    /// There is no hub at this place, or something else.
    #[error("{0} is not a devstack hub")]
    NotAHub(PathBuf),
    /// The text is not a commit id.
    #[error("`{0}` is not a commit id")]
    NotACommit(String),
    /// The named commit is not in the hub.
    #[error("commit {0} is not in the hub")]
    Unknown(CommitId),
    /// The attempt's commit is not pinned, or the pin names another commit: only pinned commits are merged.
    #[error("attempt {0} is not pinned in the hub at the commit to merge")]
    NotPinned(AttemptId),
    /// The user's repository cannot be used in its current state.
    #[error(transparent)]
    Source(#[from] source::SourceError),
    /// A conflict cannot be checked out, or a user's directory cannot be taken as a resolution.
    #[error(transparent)]
    Checkout(#[from] checkout::CheckoutError),
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// Converts our commit id to the library's.
pub(crate) fn oid(id: CommitId) -> git2::Oid {
    git2::Oid::from_bytes(&id.0).unwrap_or(git2::Oid::ZERO_SHA1)
}

/// Converts the library's id to ours.
pub(crate) fn id(oid: git2::Oid) -> CommitId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(oid.as_bytes());
    CommitId(bytes)
}
