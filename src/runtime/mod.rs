//! Running attempts, whatever runs them. One trait, one implementation per kind of isolation:
//! [`docker`] starts them in containers, [`process`] as processes of this machine, [`fake`] plays them from a script (for tests of actors).
//!
//! Architecture invariants: a runtime knows no task, no plan and no hub, only jobs; it keeps no state but the files of its
//! attempts, so a new instance after a restart finds everything the old one started; it never opens a repository that
//! an agent can write.

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
mod shim;

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

/// What runs attempts on a host. Every method may be called again, from any task, after any crash.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What it is, for people.
    fn describe(&self) -> RuntimeInfo;

    /// Can it start anything now? `None`: yes, as far as it knows. Else why not; it says when that is over.
    fn health(&self) -> watch::Receiver<Option<String>> {
        watch::Sender::new(None).subscribe()
    }

    /// The image that a role's `image` means now, for [`Job::image`]; `None` where the runtime has no images.
    async fn image(&self, _name: Option<&str>) -> Result<Option<String>, RuntimeError> {
        Ok(None)
    }

    /// Its private bridges, in the order in which they are filled, as last seen: asks nobody. None where it has none.
    fn shards(&self) -> Vec<Shard> {
        Vec::new()
    }

    /// What it could start attempts of now: `name:tag@sha256:…`, or `sha256:…` where an image has no name; at most [`IMAGES_MAX`],
    /// as last seen: asks nobody, but a look that is long ago is repeated beside. None where it has none.
    fn images(&self) -> Vec<String> {
        Vec::new()
    }

    /// Removes what belongs to no attempt, if no attempt is left: networks, directories of secrets.
    async fn tidy(&self) {}

    /// Removes what is kept only to be quick, because room on the disk is short. Blocks.
    fn drop_caches(&self) {}

    /// Starts an attempt. One that was started before, also by an earlier process, is left as it is: it runs once.
    async fn start(&self, job: &Job) -> Result<(), RuntimeError>;

    /// Waits until an attempt is over and nothing of it runs; for one that is over, answers at once. The deadline holds here too,
    /// whatever became of the shim. Dropping the future ends only the waiting.
    async fn wait(&self, attempt: &AttemptId) -> Result<Ended, RuntimeError>;

    /// Asks an attempt to end as [`Outcome::Stopped`], with its grace. `wait` says when it is over.
    async fn stop(&self, attempt: &AttemptId) -> Result<(), RuntimeError>;

    /// Every attempt that has left anything here.
    async fn list(&self) -> Result<Vec<Observed>, RuntimeError>;

    /// Harvests an attempt that is over again, for when its shim was killed: no agent, no secret.
    async fn harvest(&self, attempt: &AttemptId) -> Result<Harvest, RuntimeError>;

    /// Ends whatever is left of an attempt and deletes all its files. An unknown attempt is no error.
    async fn remove(&self, attempt: &AttemptId) -> Result<(), RuntimeError>;

    /// Moves the output of an attempt that is over to this file, for after [`Runtime::remove`]. No output, no file.
    async fn keep_log(&self, attempt: &AttemptId, file: &Path) -> Result<(), RuntimeError>;

    /// The output of an attempt from byte `from` on; with `follow` until the attempt is over.
    async fn log(&self, attempt: &AttemptId, from: u64, follow: bool) -> Result<LogReader, RuntimeError>;
}

/// A private bridge, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name in the configuration.
    pub name: String,
    /// Its subnet; `None`: it was not needed yet, and may take any.
    pub subnet: Option<String>,
    /// Containers on it, starting or running.
    pub ports: u32,
    /// The most of them.
    pub capacity: u32,
}

/// The most entries of [`Runtime::images`]: a report of a host is one frame, and more are on no host that is looked after.
pub const IMAGES_MAX: usize = 200;

/// What a runtime is, for people: `status`, `host show`, the plan's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `process`, `docker`, `fake`.
    pub name: &'static str,
    /// What keeps an agent from the rest of the machine.
    pub isolation: Isolation,
}

/// What keeps an agent from the rest of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// It sees its own files and nothing else.
    Sandboxed {
        /// By what: `bwrap 0.8.0`.
        by: String,
    },
    /// It sees what its user may see. Always shown.
    Unsandboxed {
        /// Why, and what to do about it.
        why: String,
    },
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// What it made.
    pub harvest: Harvest,
    /// The end of its output, at most [`TAIL_MAX`] bytes, secrets redacted.
    pub tail: String,
    /// What the agent put in `out/result.json`, unread; at most [`RESULT_MAX`] bytes.
    pub result_json: Option<Vec<u8>>,
    /// How long the agent ran, in milliseconds, if the shim could say.
    pub elapsed_ms: Option<u64>,
}

/// What an attempt made. Neither: nothing changed, or no repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Harvest {
    /// The commits. With an error beside it, what could be had.
    pub commits: Option<Commits>,
    /// Why the harvest is missing or not whole, for people: the shim was killed, a merge is not resolved.
    pub error: Option<String>,
    /// The shim never got to it, or the machine failed it: [`Runtime::harvest`] may do better.
    pub again: bool,
    /// The machine failed, not the agent: what is missing may be work, and nothing may be taken for its absence.
    pub failed: Option<String>,
    /// What could not be taken; bounded.
    pub skipped: Vec<Skipped>,
    /// So many more could not be taken.
    pub more: u32,
    /// Other branches that are in the bundle; bounded.
    pub branches: Vec<Branch>,
}

/// Commits as a bundle whose first ref is [`devstack_shim::layout::BUNDLE_REF`]; the others, if any, are
/// [`Harvest::branches`]. Written by the agent's user: untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commits {
    /// What the ref points to, as the shim says; the base where only other branches have commits.
    pub tip: CommitId,
    /// The bundle: a regular file, at most the configured size.
    pub bundle: PathBuf,
}

/// The longest [`Ended::tail`], in bytes: it travels inline in records (`Text::INLINE_MAX` is 2048).
pub const TAIL_MAX: u64 = 2000;
/// The longest [`Ended::result_json`], in bytes: a summary and four numbers.
pub const RESULT_MAX: u64 = 64 << 10;

/// An attempt that has left something on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Which.
    pub attempt: AttemptId,
    /// What of it.
    pub state: State,
}

/// What is left of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its shim runs.
    Running,
    /// It is over; `wait` tells how.
    Ended,
    /// It was never started, and its files are not whole: `start` it again, or `remove` it.
    Broken {
        /// What is wrong, for people.
        why: String,
    },
}

/// Why a runtime could not do something.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is nothing of this attempt: start it, or forget it.
    #[error("attempt {0} is not known to this host")]
    Unknown(AttemptId),
    /// The machine refused something; the attempt may be tried again, here or elsewhere.
    #[error("{what}: {source}")]
    Failed {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// What runs attempts does not answer. Nothing is known of the attempt; it will answer again.
    #[error("{0}")]
    Unavailable(String),
    /// Every place for it is taken; one comes free when an attempt ends. [`Runtime::health`] says when.
    #[error("{0}")]
    NoRoom(String),
    /// The job asks for something this runtime cannot do, here or at any time.
    #[error("{0}")]
    Refused(String),
}

impl RuntimeError {
    fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Failed { what, source }
    }
}

/// Runs blocking work of the file system away from the async threads.
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
