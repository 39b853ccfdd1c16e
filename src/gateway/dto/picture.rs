//! What the dashboard's pictures and lists of history are made from.
//! Deliberately absent: a place in the API. These are views of one page each, and change with it.

use super::{Fact, Merge, Time};
use crate::gateway::draw::{dag, gantt};

/// The tasks of a project, for its graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// All projects, to choose from.
    pub projects: Vec<String>,
    /// The one that is shown; `None`: there is none.
    pub project: Option<String>,
    /// Tasks in the order of submission.
    pub tasks: Vec<dag::Task>,
    /// All tasks of the project.
    pub total: u64,
    /// Those that were left out because there are too many: the completed first.
    pub left_out: u64,
}

/// Attempts on a time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// When it was seen.
    pub now: Time,
    /// All projects, to choose from.
    pub projects: Vec<String>,
    /// Attempts that run, and those that ended lately; in no order.
    pub attempts: Vec<gantt::Span>,
    /// Those that ended first and were left out because there are too many.
    pub left_out: u64,
}

/// The way of commits into a project's integration branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeQueue {
    /// The project.
    pub project: String,
    /// The integration branch.
    pub integration: String,
    /// Its head, as proven last.
    pub head: Option<String>,
    /// Does the source have that head?
    pub delivered: bool,
    /// Why delivery waits.
    pub waits: Option<String>,
    /// Starts no attempts, and so no checks.
    pub paused: bool,
    /// What is in work first, then what waits, in the order of the queue; at most as many as were asked for.
    pub entries: Vec<Queued>,
    /// All that are in work or wait.
    pub length: u64,
    /// Landed merges, the newest first; at most as many as were asked for.
    pub landed: Vec<Landed>,
    /// All landed merges.
    pub merged: u64,
}

/// A task on its way into the integration branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What becomes of it now.
    pub stage: QueueStage,
    /// The agent whose commit it is, or who checks it.
    pub agent: Option<String>,
    /// Since when: approved, or being checked.
    pub since: Option<Time>,
}

/// Where a task is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueStage {
    /// Its merge is being published.
    Merging,
    /// The checks run.
    Checking,
    /// The checks wait for a slot.
    AwaitingCheck,
    /// Its merge is being prepared.
    Preparing,
    /// It waits for those before it.
    Waiting,
}

impl QueueStage {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merging => "merging",
            Self::Checking => "checking",
            Self::AwaitingCheck => "waits for a slot for its checks",
            Self::Preparing => "preparing",
            Self::Waiting => "waiting",
        }
    }
}

/// A landed merge with its task's title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// As in the API.
    pub merge: Merge,
    /// The task's id.
    pub id: String,
    /// The task's title.
    pub title: String,
}

/// Part of the history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The newest first.
    pub facts: Vec<Fact>,
    /// Where to look on: facts before this number; `None`: there are none.
    pub older: Option<u64>,
    /// How many facts were looked at.
    pub searched: u64,
}
