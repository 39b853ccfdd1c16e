//! Runs attempts. One trait, one implementation per kind of isolation:
//! [`docker`] starts them in containers, [`process`] as processes of this machine, [`fake`] plays them from a script
//! (for tests of actors).
//!
//! Architecture invariants: a runtime knows no task, no plan and no hub, only jobs; its only state is the files of its
//! attempts, so a new instance after a restart finds everything that the old one started; it never opens a repository
//! that an agent can write.

mod busybox;
mod clock;
pub mod docker;
mod evidence;
pub mod fake;
mod files;
mod fill;
mod identity;
mod job;
mod log;
pub mod process;
mod ready;
mod remove;
mod seccomp;
pub mod shim;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use devstack_dag::{
    attempt::Outcome,
    ids::{AttemptId, CommitId},
};
use devstack_shim::spec::{Branch, Skipped};
use tokio::sync::watch;

pub use self::{
    docker::{DockerConfig, DockerRuntime},
    job::{Job, Workspace, author},
    log::LogReader,
    process::{ProcessConfig, ProcessRuntime, Sandbox, barrier},
};

/// Runs attempts on a host. Every method may be called again, from any task, after any crash.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The runtime's description, for display.
    fn describe(&self) -> RuntimeInfo;

    /// Whether it can start attempts now: `None` if it can, as far as is known; otherwise the reason. The channel
    /// reports when this changes.
    fn health(&self) -> watch::Receiver<Option<String>> {
        watch::Sender::new(None).subscribe()
    }

    /// The image that a role's `image` currently refers to, for [`Job::image`]; `None` where the runtime has no images.
    async fn image(&self, _name: Option<&str>) -> Result<Option<String>, RuntimeError> {
        Ok(None)
    }

    /// Its private bridges, in the order in which they are filled. Cached; never blocks. Empty for runtimes without
    /// bridges.
    fn shards(&self) -> Vec<Shard> {
        Vec::new()
    }

    /// The images that it can use now: `name:tag@sha256:…`, or `sha256:…` for an image without a name; at most
    /// [`IMAGES_MAX`]. Cached; never blocks. A stale cache is refreshed in the background. Empty for runtimes without
    /// images.
    fn images(&self) -> Vec<String> {
        Vec::new()
    }

    /// Removes what belongs to no attempt, if no attempt is left: networks, directories of secrets.
    async fn tidy(&self) {}

    /// Removes caches, because room on the disk is short. Blocks.
    fn drop_caches(&self) {}

    /// Starts an attempt. An attempt that was already started, also by an earlier process, is left unchanged: it runs
    /// once.
    async fn start(&self, job: &Job) -> Result<(), RuntimeError>;

    /// Waits until an attempt ended and nothing of it runs; answers at once if it already ended. The deadline is
    /// enforced here too, whatever happened to the shim. Dropping the future ends only the waiting.
    async fn wait(&self, attempt: &AttemptId) -> Result<Ended, RuntimeError>;

    /// Asks an attempt to end as [`Outcome::Stopped`], with its grace period. `wait` returns when it ended.
    async fn stop(&self, attempt: &AttemptId) -> Result<(), RuntimeError>;

    /// Every attempt with any files or processes here.
    async fn list(&self) -> Result<Vec<Observed>, RuntimeError>;

    /// Harvests an ended attempt again, if its shim was killed: no agent, no secret.
    async fn harvest(&self, attempt: &AttemptId) -> Result<Harvest, RuntimeError>;

    /// Ends everything that remains of an attempt and deletes all its files. An unknown attempt is not an error.
    async fn remove(&self, attempt: &AttemptId) -> Result<(), RuntimeError>;

    /// Moves the output of an ended attempt to this file, to keep it after [`Runtime::remove`]. Without output there is
    /// no file.
    async fn keep_log(&self, attempt: &AttemptId, file: &Path) -> Result<(), RuntimeError>;

    /// The output of an attempt from byte `from` on; with `follow` until the attempt ends.
    async fn log(&self, attempt: &AttemptId, from: u64, follow: bool) -> Result<LogReader, RuntimeError>;
}

/// A private bridge, for display and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name in the configuration.
    pub name: String,
    /// Its subnet; `None` if it was not needed yet and may take any.
    pub subnet: Option<String>,
    /// Containers on it, starting or running.
    pub ports: u32,
    /// The maximum number of containers on it.
    pub capacity: u32,
}

/// The maximum number of entries in [`Runtime::images`]: a host's report is one frame, and no well-kept host has more.
pub const IMAGES_MAX: usize = 200;

/// Description of a runtime, for `status`, `host show` and the plan's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `process`, `docker`, `fake`.
    pub name: &'static str,
    /// How agents are isolated from the rest of the machine.
    pub isolation: Isolation,
}

/// How agents are isolated from the rest of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// An agent sees only its own files.
    Sandboxed {
        /// The sandbox: `bwrap 0.8.0`.
        by: String,
    },
    /// An agent sees everything that its user may see. Always shown.
    Unsandboxed {
        /// The reason, with a fix.
        why: String,
    },
}

/// An attempt that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Its work.
    pub harvest: Harvest,
    /// The end of its output, at most [`TAIL_MAX`] bytes, secrets redacted.
    pub tail: String,
    /// The unparsed content of `out/result.json`; at most [`RESULT_MAX`] bytes.
    pub result_json: Option<Vec<u8>>,
    /// How long the agent ran, in milliseconds, if the shim reported it.
    pub elapsed_ms: Option<u64>,
}

/// The work of an attempt. Neither commits nor an error: nothing changed, or there is no repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Harvest {
    /// The commits. If there is also an error, they are incomplete.
    pub commits: Option<Commits>,
    /// Why the harvest is missing or incomplete, for users: the shim was killed, a merge is not resolved.
    pub error: Option<String>,
    /// The shim did not reach the harvest, or the machine failed: [`Runtime::harvest`] may do better.
    pub again: bool,
    /// The machine failed, not the agent: missing files may be work, and must not be taken as deleted.
    pub failed: Option<String>,
    /// Paths that could not be taken; bounded.
    pub skipped: Vec<Skipped>,
    /// Number of further paths that could not be taken.
    pub more: u32,
    /// Other branches in the bundle; bounded.
    pub branches: Vec<Branch>,
}

/// Commits as a bundle whose first ref is [`devstack_shim::layout::BUNDLE_REF`]; further refs are
/// [`Harvest::branches`]. Written by the agent's user: untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commits {
    /// The commit of that ref, as the shim reports it; the base if only other branches have commits.
    pub tip: CommitId,
    /// The bundle: a regular file, at most the configured size.
    pub bundle: PathBuf,
}

/// The longest [`Ended::tail`], in bytes: it travels inline in records (`Text::INLINE_MAX` is 2048).
pub const TAIL_MAX: u64 = 2000;
/// The longest [`Ended::result_json`], in bytes: a summary and four numbers.
pub const RESULT_MAX: u64 = 64 << 10;

/// An attempt that left something on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its state.
    pub state: State,
}

/// The state of an attempt on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its shim runs.
    Running,
    /// It ended; `wait` returns the details.
    Ended,
    /// It was never started, and its files are incomplete: `start` it again, or `remove` it.
    Broken {
        /// What is wrong, for users.
        why: String,
    },
}

/// Why a runtime could not do something.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is nothing of this attempt here: start it, or forget it.
    #[error("this host does not know attempt {0}")]
    Unknown(AttemptId),
    /// The machine refused something; the attempt may be retried, here or elsewhere.
    #[error("{what}: {source}")]
    Failed {
        /// What was tried.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The engine does not answer. The state of the attempt is unknown until it answers again.
    #[error("{0}")]
    Unavailable(String),
    /// All places for it are taken; one is released when an attempt ends. [`Runtime::health`] reports that.
    #[error("{0}")]
    NoRoom(String),
    /// The job needs something that this runtime can never do.
    #[error("{0}")]
    Refused(String),
}

impl RuntimeError {
    fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Failed { what, source }
    }
}

/// Runs blocking file system work outside the async threads.
async fn blocking<I, T, F>(inner: &Arc<I>, work: F) -> Result<T, RuntimeError>
where
    I: Send + Sync + 'static,
    T: Send + 'static,
    F: FnOnce(&I) -> Result<T, RuntimeError> + Send + 'static,
{
    let inner = Arc::clone(inner);
    let joined = tokio::task::spawn_blocking(move || work(&inner)).await;
    joined.unwrap_or_else(|error| Err(RuntimeError::failed("running a blocking job")(io::Error::other(error))))
}
