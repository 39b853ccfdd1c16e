//! The data of the dashboard's pictures and lists of history.
//! Deliberately absent: a place in the API. Each view belongs to one page and changes with it.

use devstack_api::dto::{Fact, Merge, Time};
use devstack_draw::{dag, gantt};

/// The tasks of a project, for its graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// All projects, for the selection.
    pub projects: Vec<String>,
    /// The selected project; `None`: there are no projects.
    pub project: Option<String>,
    /// Tasks in the order of submission.
    pub tasks: Vec<dag::Task>,
    /// The number of all tasks of the project.
    pub total: u64,
    /// The number of tasks left out because there are too many; completed tasks are left out first.
    pub left_out: u64,
}

/// Attempts on a time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The time of the snapshot.
    pub now: Time,
    /// All projects, for the selection.
    pub projects: Vec<String>,
    /// Running and recently ended attempts, unordered.
    pub attempts: Vec<gantt::Span>,
    /// The number of attempts left out because there are too many; the oldest are left out first.
    pub left_out: u64,
}

/// The merge queue and the merges of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeQueue {
    /// The project.
    pub project: String,
    /// The integration branch.
    pub integration: String,
    /// The last confirmed head.
    pub head: Option<String>,
    /// Whether the head is delivered to the user's repository.
    pub delivered: bool,
    /// Why delivery is blocked.
    pub waits: Option<String>,
    /// Whether the project is paused: it starts no attempts, including checks.
    pub paused: bool,
    /// First the entries in progress, then the waiting ones, in the order of the queue; at most the requested number.
    pub entries: Vec<Queued>,
    /// The number of all entries in progress or waiting.
    pub length: u64,
    /// Completed merges, newest first; at most the requested number.
    pub landed: Vec<Landed>,
    /// The number of all completed merges.
    pub merged: u64,
}

/// A task in the merge queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The current stage.
    pub stage: QueueStage,
    /// The agent that made the commit or runs the check.
    pub agent: Option<String>,
    /// The start of the stage: the approval or the start of the check.
    pub since: Option<Time>,
}

/// The stage of a task in the merge queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueStage {
    /// The merge is being published.
    Merging,
    /// The checks are running.
    Checking,
    /// The checks wait for a slot.
    AwaitingCheck,
    /// The merge is being prepared.
    Preparing,
    /// The task waits for earlier tasks.
    Waiting,
}

impl QueueStage {
    /// The stage in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merging => "merging",
            Self::Checking => "checking",
            Self::AwaitingCheck => "waiting for a slot for its checks",
            Self::Preparing => "preparing",
            Self::Waiting => "waiting",
        }
    }
}

/// A completed merge with the title of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The merge, as in the API.
    pub merge: Merge,
    /// The task's id.
    pub id: String,
    /// The task's title.
    pub title: String,
}

/// A part of the history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The newest first.
    pub facts: Vec<Fact>,
    /// Where older facts continue: facts before this number; `None`: there are no older facts.
    pub older: Option<u64>,
    /// The number of facts searched.
    pub searched: u64,
}
