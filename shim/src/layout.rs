//! The paths of one attempt's files, below its directory. There are three owners: the node writes `spec.json` and
//! `in/`; the shim writes `shim/` (it opens the files before it drops to the agent's user, so where the node is root
//! the agent cannot write there); the agent owns the rest.

/// The order, written by the node; JSON of [`crate::spec::Spec`].
pub const SPEC: &str = "spec.json";
/// Created by the node when the attempt must end: a signal can arrive before the shim listens.
pub const STOP: &str = "stop";
/// The agent's input: prompt, task and bundles. Read-only for the agent.
pub const IN: &str = "in";
/// The prompt, in [`IN`].
pub const PROMPT: &str = "in/prompt.md";
/// The task as JSON, in [`IN`].
pub const TASK: &str = "in/task.json";
/// The agent's output besides its commits.
pub const OUT: &str = "out";
/// The agent's own summary, in [`OUT`]; optional.
pub const RESULT: &str = "out/result.json";
/// The working directory.
pub const WORKSPACE: &str = "workspace";
/// The agent's HOME.
pub const HOME: &str = "home";
/// The agent's TMPDIR.
pub const TMP: &str = "tmp";
/// The shim's own directory.
pub const SHIM: &str = "shim";
/// The process that runs the attempt; created exclusively, so that an attempt runs once whatever dies when. A symbolic
/// link whose target is `<pid> <start time> <boot id>`. In [`SHIM`].
pub const PID: &str = "shim/pid";
/// The agent's output, in [`SHIM`].
pub const LOG: &str = "shim/log";
/// The exit record; JSON of [`crate::spec::ExitRecord`]. In [`SHIM`].
pub const EXIT: &str = "shim/exit.json";
/// The record of a repeated harvest; like [`EXIT`], without an ending. In [`SHIM`].
pub const HARVEST: &str = "shim/harvest.json";
/// The commits, in [`SHIM`].
pub const BUNDLE: &str = "shim/result.bundle";

/// The mark that an agent is about to start in a complete workspace; the file exists only if there is something to
/// harvest, and is empty until then. In [`SHIM`].
pub const STARTED: &str = "shim/started";

/// The first ref in a result bundle.
pub const BUNDLE_REF: &str = "refs/devstack/result";
/// The prefix of all other refs in a bundle: branches of the workspace, by their names.
pub const BRANCH_REFS: &str = "refs/devstack/branches/";
/// Marks every process of an attempt: `<installation>/<project>/<task>/<attempt>`.
pub const KEY_VARIABLE: &str = "DEVSTACK_ATTEMPT_KEY";
