//! Where the files of one attempt are, below its directory. Three owners: the node writes `spec.json` and `in/`, the
//! shim writes `shim/` (opened before it drops to the agent's user, so where the node is root the agent cannot
//! write there), the agent owns the rest.

/// The order, written by the node; JSON of [`crate::spec::Spec`].
pub const SPEC: &str = "spec.json";
/// Made by the node when the attempt is to end: a signal can come before the shim listens.
pub const STOP: &str = "stop";
/// What the agent is told: prompt, task and bundles. Read-only for the agent.
pub const IN: &str = "in";
/// The prompt, in [`IN`].
pub const PROMPT: &str = "in/prompt.md";
/// The task as JSON, in [`IN`].
pub const TASK: &str = "in/task.json";
/// What the agent hands back beside its commits.
pub const OUT: &str = "out";
/// The agent's own summary, in [`OUT`]; optional.
pub const RESULT: &str = "out/result.json";
/// The working directory.
pub const WORKSPACE: &str = "workspace";
/// HOME.
pub const HOME: &str = "home";
/// TMPDIR.
pub const TMP: &str = "tmp";
/// The shim's own directory.
pub const SHIM: &str = "shim";
/// Which process runs the attempt; made exclusively, so an attempt runs once whatever dies when.
/// A symbolic link whose target is `<pid> <start time> <boot id>`. In [`SHIM`].
pub const PID: &str = "shim/pid";
/// The output of the agent, in [`SHIM`].
pub const LOG: &str = "shim/log";
/// The end; JSON of [`crate::spec::ExitRecord`]. In [`SHIM`].
pub const EXIT: &str = "shim/exit.json";
/// The end of a harvest that was made again; as [`EXIT`], without an ending. In [`SHIM`].
pub const HARVEST: &str = "shim/harvest.json";
/// The commits, in [`SHIM`].
pub const BUNDLE: &str = "shim/result.bundle";

/// Empty until an agent is about to be started in a workspace that is whole; made where there is something to harvest.
/// In [`SHIM`].
pub const STARTED: &str = "shim/started";

/// The first ref in a result bundle.
pub const BUNDLE_REF: &str = "refs/devstack/result";
/// What the names of all others start with: branches of the workspace, by their names.
pub const BRANCH_REFS: &str = "refs/devstack/branches/";
/// Marks every process of an attempt: `<installation>/<project>/<task>/<attempt>`.
pub const KEY_VARIABLE: &str = "DEVSTACK_ATTEMPT_KEY";
