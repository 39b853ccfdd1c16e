//! The order of one attempt and its exit record, as JSON files. Both are versioned, because a shim outlives the node
//! that started it and may meet a newer node.
//!
//! Deliberately absent: secret values. They arrive on the shim's stdin as one JSON object, or as files of a tmpfs, and
//! touch no disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    confinement::{Demand, Measured},
    tool::Tool,
};

/// The version this code writes.
pub const VERSION: u32 = 1;

/// The placeholder in [`Spec::wrapper`] for the descriptor of one of [`Spec::wrapper_files`].
pub fn wrapper_file(index: usize) -> String {
    format!("{{file {index}}}")
}

/// Exit status of a shim whose attempt has, or had, another shim: it did nothing.
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
    /// The boot in which this was written (`/proc/sys/kernel/random/boot_id`): a pid is meaningless in another boot.
    pub boot_id: String,
    /// CLOCK_BOOTTIME when the node ordered it, in milliseconds: gives the remaining time after a node's restart.
    pub ordered_at_ms: u64,
    /// A program with arguments that the shim becomes first, and which runs the shim again inside a sandbox; empty:
    /// none.
    pub wrapper: Vec<String>,
    /// The agent's argv.
    pub command: Vec<String>,
    /// The agent's whole environment, without its secrets.
    pub env: Vec<(String, String)>,
    /// The source of its secrets; `None` if it has none.
    pub secrets: Option<Secrets>,
    /// The agent's user; `None`: the user who started the shim, who must not be root.
    pub user: Option<User>,
    /// Limits of the process.
    pub limits: Rlimits,
    /// Control groups to enter, as directories.
    pub cgroups: Vec<PathBuf>,
    /// The longest the agent may run from now, in milliseconds, on CLOCK_BOOTTIME.
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// The agent is ended after this long without output and processor time, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The maximum size of the log, in bytes (plus one line that says what was left out).
    pub log_max: u64,
    /// Maximum disk use of the attempt, workspace and result together, in bytes; `None`: no limit but the disk.
    pub disk_max: Option<u64>,
    /// The workspace; `None`: an empty directory, and no harvest.
    pub git: Option<Git>,
    /// Special properties of the agent; `None`: a plain command.
    #[serde(default)]
    pub tool: Option<Tool>,
    /// Whether the log also goes to the shim's standard output.
    #[serde(default)]
    pub tee: bool,
    /// Files that the wrapper inherits, open for reading; its arguments refer to their descriptors by [`wrapper_file`].
    #[serde(default)]
    pub wrapper_files: Vec<PathBuf>,
    /// The confinement that must be in force around the agent, otherwise it does not start; `None`: an order of an
    /// earlier version, which demands nothing.
    #[serde(default)]
    pub demand: Option<Demand>,
}

/// How the shim gets the secret values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secrets {
    /// One JSON object on stdin.
    Stdin,
    /// One file per secret, named like the secret, in this directory of a tmpfs.
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
    /// The commits to check out.
    pub start: GitStart,
    /// Author of the agent's commits.
    pub name: String,
    /// Mail address of the author.
    pub email: String,
    /// Commit leftovers and write a bundle at the end.
    pub harvest: bool,
    /// The largest bundle, in bytes.
    pub bundle_max: u64,
}

/// The initial content of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GitStart {
    /// `tip` on the agent's branch.
    Commit {
        /// The integration head.
        base: String,
        /// The same, or the commit that an earlier attempt left.
        tip: String,
    },
    /// `base` on the agent's branch, with a merge of `theirs` in progress.
    Merging {
        /// The integration head.
        base: String,
        /// The commit whose merge is blocked.
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
    /// A signal ended it, not sent by the shim.
    Signalled(i32),
    /// The shim ended it at its deadline.
    TimedOut,
    /// The shim ended it because it was idle.
    Stalled,
    /// The shim was asked to end it: by the node, if [`crate::layout::STOP`] exists, else by somebody else.
    Stopped,
    /// It never ran; the text says what is missing.
    NotStarted(String),
    /// The shim ended it because it used more than [`Spec::disk_max`] on disk.
    OutOfDisk,
}

/// The exit record of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`VERSION`].
    pub version: u32,
    /// How the agent ended; `None` if only a harvest was requested.
    pub ending: Option<Ending>,
    /// How long the agent ran, in milliseconds.
    pub elapsed_ms: u64,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Bytes of output that are not in the log.
    pub left_out_bytes: u64,
    /// The agent's result.
    pub harvest: Harvested,
    /// How often the process limit refused a process, where the control group is readable.
    #[serde(default)]
    pub processes_refused: u64,
    /// Whether an agent was started in a complete workspace. Otherwise nothing that is left counts as work. A record
    /// without this field is from a version that harvested after every end.
    #[serde(default = "yes")]
    pub started: bool,
    /// The confinement measured just before the agent's start; `None`: nothing was demanded, or the start was not
    /// reached.
    #[serde(default)]
    pub measured: Option<Measured>,
}

fn yes() -> bool {
    true
}

/// The result of a harvest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harvested {
    /// The result, if it is not the base; the base if only other branches have commits, which the bundle then contains.
    pub tip: Option<String>,
    /// Why an expected result is missing, or is incomplete.
    pub error: Option<String>,
    /// Paths that could not be taken, at most [`SKIPPED_MAX`].
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// Number of further paths that could not be taken.
    #[serde(default)]
    pub more: u32,
    /// Other branches with commits on top of the base, at most [`BRANCHES_MAX`]; the bundle contains them as refs.
    #[serde(default)]
    pub branches: Vec<Branch>,
    /// The machine failed, not the agent: its disk was full, or could not be read or written.
    #[serde(default)]
    pub failed: Option<String>,
}

/// A path that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Relative to the workspace, for display: at most [`SKIPPED_PATH_MAX`] bytes. `.git` means the whole repository.
    pub path: String,
    /// The reason, at most [`SKIPPED_WHY_MAX`] bytes.
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

/// Maximum number of listed paths that could not be taken; the others are counted.
pub const SKIPPED_MAX: usize = 50;
/// The longest listed path, in bytes; a longer one is cut.
pub const SKIPPED_PATH_MAX: usize = 200;
/// The longest reason, in bytes; a longer one is cut.
pub const SKIPPED_WHY_MAX: usize = 120;
/// Maximum number of branches besides the result.
pub const BRANCHES_MAX: usize = 16;
/// The longest name of such a branch, in bytes.
pub const BRANCH_NAME_MAX: usize = 200;
