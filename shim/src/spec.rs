//! The order of one attempt and its exit record, as JSON files. Both are versioned, since a shim outlives the
//! node that started it and may meet a newer one.
//!
//! Deliberately absent: secret values. They come on the shim's stdin as one JSON object, or as files of a tmpfs, and touch
//! no disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    confinement::{Demand, Measured},
    tool::Tool,
};

/// The version this code writes.
pub const VERSION: u32 = 1;

/// The word of [`Spec::wrapper`] that stands for the descriptor of one of [`Spec::wrapper_files`].
pub fn wrapper_file(index: usize) -> String {
    format!("{{file {index}}}")
}

/// Exit status of a shim whose attempt has, or had, another one: it did nothing.
pub const ALREADY_RUN: u8 = 3;

/// Everything the shim needs to run one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// [`VERSION`].
    pub version: u32,
    /// The value of [`crate::layout::KEY_VARIABLE`].
    pub key: String,
    /// For commit messages: `shop/T-001 attempt 3`.
    pub label: String,
    /// The attempt's directory, absolute.
    pub dir: PathBuf,
    /// The agent's working directory, absolute.
    pub workspace: PathBuf,
    /// The boot this was written in (`/proc/sys/kernel/random/boot_id`): a pid means nothing after it.
    pub boot_id: String,
    /// CLOCK_BOOTTIME when the node ordered it, in milliseconds: what is left of the time after a node's restart.
    pub ordered_at_ms: u64,
    /// A program with arguments that the shim becomes first, and that runs it again inside a sandbox; empty: none.
    pub wrapper: Vec<String>,
    /// The agent's argv.
    pub command: Vec<String>,
    /// The agent's whole environment, without its secrets.
    pub env: Vec<(String, String)>,
    /// Where its secrets come from; `None`: it has none.
    pub secrets: Option<Secrets>,
    /// Who the agent is; `None`: whoever started the shim, who must not be root.
    pub user: Option<User>,
    /// Limits of the process.
    pub limits: Rlimits,
    /// Control groups to enter, as directories.
    pub cgroups: Vec<PathBuf>,
    /// The longest the agent may run from now, in milliseconds, on CLOCK_BOOTTIME.
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// No output and no processor time for this long ends it, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The log is never longer, in bytes (but for one line that says what was left out).
    pub log_max: u64,
    /// What the attempt may have on disk, workspace and result together, in bytes; `None`: what the disk has.
    pub disk_max: Option<u64>,
    /// The workspace; `None`: an empty directory, and nothing is harvested.
    pub git: Option<Git>,
    /// What is special about the agent; `None`: a plain command.
    #[serde(default)]
    pub tool: Option<Tool>,
    /// Does the log go to the shim's standard output, too?
    #[serde(default)]
    pub tee: bool,
    /// Files that the wrapper inherits, open for reading; its arguments name their descriptors by [`wrapper_file`].
    #[serde(default)]
    pub wrapper_files: Vec<PathBuf>,
    /// What must be in force around the agent, or it does not start; `None`: an order of an earlier version, which demands
    /// nothing.
    #[serde(default)]
    pub demand: Option<Demand>,
}

/// How the shim gets the values of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secrets {
    /// One JSON object on stdin.
    Stdin,
    /// One file each, named like the secret, in this directory of a tmpfs.
    Directory(PathBuf),
}

/// A user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Never 0.
    pub uid: u32,
    /// The only group.
    pub gid: u32,
}

/// Resource limits (setrlimit), soft and hard alike; `None`: inherited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimits {
    /// RLIMIT_DATA, in bytes: writable private memory. Not RLIMIT_AS, since JavaScript engines reserve far more
    /// addresses than they use.
    pub data: Option<u64>,
    /// RLIMIT_NPROC: processes and threads of the user.
    pub processes: Option<u64>,
    /// RLIMIT_NOFILE.
    pub open_files: Option<u64>,
    /// RLIMIT_FSIZE, in bytes.
    pub file_size: Option<u64>,
}

/// A workspace to make and harvest. Commit ids are 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// The `objects` directory to borrow from, absolute, readable by the agent.
    pub mirror_objects: PathBuf,
    /// Names of bundles in `in/`, for what the mirror lacks.
    pub bundles: Vec<String>,
    /// The agent's branch: `feat/dev1`.
    pub branch: String,
    /// The integration branch, seen as `origin/<integration>`.
    pub integration: String,
    /// What is checked out.
    pub start: GitStart,
    /// Author of the agent's commits.
    pub name: String,
    /// Their mail address.
    pub email: String,
    /// Commit leftovers and write a bundle at the end.
    pub harvest: bool,
    /// The largest bundle, in bytes.
    pub bundle_max: u64,
}

/// What a workspace holds at first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GitStart {
    /// `tip` on the agent's branch.
    Commit {
        /// The integration head.
        base: String,
        /// The same, or what an earlier attempt left.
        tip: String,
    },
    /// `base` on the agent's branch with `theirs` being merged.
    Merging {
        /// The integration head.
        base: String,
        /// The blocked commit.
        theirs: String,
    },
}

impl GitStart {
    /// The integration head.
    pub fn base(&self) -> &str {
        match self {
            Self::Commit { base, .. } | Self::Merging { base, .. } => base,
        }
    }
}

/// How the agent ended, as the shim saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It exited.
    Exited(i32),
    /// A signal ended it that the shim did not send.
    Signalled(i32),
    /// The shim ended it at its deadline.
    TimedOut,
    /// The shim ended it for idleness.
    Stalled,
    /// The shim was asked to end it: by the node, if [`crate::layout::STOP`] is there, else from elsewhere.
    Stopped,
    /// It never ran. Says what is missing.
    NotStarted(String),
    /// The shim ended it for more than [`Spec::disk_max`] on disk.
    OutOfDisk,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`VERSION`].
    pub version: u32,
    /// How the agent ended; `None` when only the harvest was asked for.
    pub ending: Option<Ending>,
    /// How long the agent ran, in milliseconds.
    pub elapsed_ms: u64,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Bytes of output that are not in the log.
    pub left_out_bytes: u64,
    /// What the agent made.
    pub harvest: Harvested,
    /// How often the limit of processes refused one, where the control group can be read.
    #[serde(default)]
    pub processes_refused: u64,
    /// Was an agent started in a workspace that was whole? What anything else left is nobody's work. A record without the
    /// field is of a version that harvested after every end.
    #[serde(default = "yes")]
    pub started: bool,
    /// What was in force around the agent just before it was to start; `None`: nothing was demanded, or it was not got that far.
    #[serde(default)]
    pub measured: Option<Measured>,
}

fn yes() -> bool {
    true
}

/// The result of a harvest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harvested {
    /// The result, when it is not the base; the base where only other branches have commits, which the bundle carries.
    pub tip: Option<String>,
    /// Why there is none although there should be, or why it is not whole.
    pub error: Option<String>,
    /// What could not be taken, at most [`SKIPPED_MAX`].
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// So many more could not be taken.
    #[serde(default)]
    pub more: u32,
    /// Other branches with commits on top of the base, at most [`BRANCHES_MAX`]; the bundle has them as refs.
    #[serde(default)]
    pub branches: Vec<Branch>,
    /// The machine failed, not the agent: its disk was full, or could not be read or written.
    #[serde(default)]
    pub failed: Option<String>,
}

/// Something that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Relative to the workspace, for people: at most [`SKIPPED_PATH_MAX`] bytes. `.git` is the whole repository.
    pub path: String,
    /// At most [`SKIPPED_WHY_MAX`] bytes.
    pub why: String,
}

/// A branch of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Without `refs/heads/`; at most [`BRANCH_NAME_MAX`] bytes.
    pub name: String,
    /// Its commit, 40 hexadecimal digits.
    pub commit: String,
}

/// So many paths that could not be taken are named; the rest is counted.
pub const SKIPPED_MAX: usize = 50;
/// The longest path that is named, in bytes; a longer one is cut.
pub const SKIPPED_PATH_MAX: usize = 200;
/// The longest reason, in bytes; a longer one is cut.
pub const SKIPPED_WHY_MAX: usize = 120;
/// So many branches come along beside the result.
pub const BRANCHES_MAX: usize = 16;
/// The longest name of a branch that comes along, in bytes.
pub const BRANCH_NAME_MAX: usize = 200;
