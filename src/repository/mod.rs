//! The one door to git: the trusted bare **hub** of a project, the person's **source** beside it, and everything
//! that moves between them. `git2` and the `git` command are used here and nowhere else.
//!
//! | file | what it does |
//! |---|---|
//! | [`git`] | runs the host's `git` with a cleared environment, deadlines and bounded output |
//! | [`durable`] | the few steps that make objects and refs survive a power cut |
//! | [`hub`], `hubs` | creates and opens the hub, its head, its lock; each opened once a node |
//! | [`pins`] | `refs/devstack/attempts/<task>/<n>`: commits of attempts stay reachable |
//! | [`merge`], [`publish`] | prepare a merge without moving a ref; move the ref and prove it |
//! | [`quarantine`], `pack` | takes a bundle from an untrusted host: indexes it, has it judged, lands what passed |
//! | `judge`, [`policy`], [`secrets`], `trees` | the judgement, and the walks of trees that it rests on |
//! | [`worker`] | the helper process in which judgements and diffs are made |
//! | [`source`], [`sync`], [`deliver`] | the person's repository: read, follow, give back |
//! | [`reach`] | which repositories a node uses, and with what it reaches those behind a URL |
//! | [`inbox`], [`exchange`] | a source that a person uploads: the Taskmaster's end, and theirs |
//! | [`mirror`], [`bundle`] | what workspaces borrow and are sent |
//! | [`image`] | a repository's files, copied while it is used |
//! | [`starter`] | an example repository and a drawn history, for `quickstart` |
//! | [`checkout`] | a conflict laid out for a person, and the way back |
//!
//! Everything here is synchronous and may block on the disk or on a process: callers run it on blocking threads,
//! never in an actor's handler. Deliberately absent: statuses, intents and retries (the engine decides those),
//! workspaces of agents (the runtime makes them), and any opening of a repository that an agent can write.

pub mod bundle;
mod bundle_header;
pub mod bundle_refs;
pub mod checkout;
pub mod deliver;
pub mod durable;
pub mod exchange;
pub mod git;
pub mod held;
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

/// Why something in a repository could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable git on this host.
    #[error("{0}; install git 2.38 or newer (Debian and Ubuntu: `apt-get install git`)")]
    NoGit(String),
    /// A git command failed; nothing was changed in the hub.
    #[error("`git {command}` failed: {detail}")]
    Git {
        /// Its subcommand.
        command: String,
        /// The end of what it said.
        detail: String,
    },
    /// A source behind a URL does not answer, or not us; nothing was changed.
    #[error(
        "the repository {place} cannot be reached: {detail}; check its address, the network and the credentials for it"
    )]
    Unreachable {
        /// Its address, without a password.
        place: String,
        /// The first line of what git said.
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
    /// A step that durability rests on failed: the process must stop, and must not try the step again (a second
    /// fsync can succeed without having written anything).
    #[error("{path} could not be made durable: {source}; stop, mend the disk and start again")]
    Unsynced {
        /// What was being synced or moved.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk failed elsewhere.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The library failed.
    #[error("git library: {0}")]
    Library(#[from] git2::Error),
    /// What an agent or a person committed cannot be read: twice it ended the helper that tried.
    #[error("{0}")]
    Unreadable(String),
    /// A helper process could not do its job; nothing was changed, and the job may be done later.
    #[error("{0}")]
    Worker(String),
    /// Another process or job holds the project; try again later.
    #[error("the project at {0} is busy: another job holds its lock; try again")]
    Busy(PathBuf),
    /// The lock was taken away while held (the hub was moved or replaced under us): nothing was changed.
    #[error("the lock of {0} is no longer ours; the hub was moved or replaced while in use")]
    LockLost(PathBuf),
    /// There is no hub, or something else, at this place.
    #[error("{0} is not a hub of devstack")]
    NotAHub(PathBuf),
    /// A text that should name a commit does not.
    #[error("`{0}` is not the id of a commit")]
    NotACommit(String),
    /// A commit that was named is not in the hub.
    #[error("commit {0} is not in the hub")]
    Unknown(CommitId),
    /// The attempt's commit is not pinned, or the pin names another commit: only pinned commits are merged.
    #[error("attempt {0} is not pinned in the hub at the commit that was to be merged")]
    NotPinned(AttemptId),
    /// The person's repository cannot be used as it is.
    #[error(transparent)]
    Source(#[from] source::SourceError),
    /// A conflict cannot be laid out, or a person's directory cannot be taken as a resolution.
    #[error(transparent)]
    Checkout(#[from] checkout::CheckoutError),
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// Our id of a commit as the library's.
pub(crate) fn oid(id: CommitId) -> git2::Oid {
    git2::Oid::from_bytes(&id.0).unwrap_or(git2::Oid::ZERO_SHA1)
}

/// The library's id as ours.
pub(crate) fn id(oid: git2::Oid) -> CommitId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(oid.as_bytes());
    CommitId(bytes)
}
