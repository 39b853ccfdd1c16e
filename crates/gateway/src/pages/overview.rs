//! The data of the dashboard's overview: as much as fits on a page.
//! Deliberately absent: a place in the API. Each view belongs to one page and changes with it.

use devstack_api::dto::{Overview, Project, Task, Time};

/// The overview.
#[derive(Debug, Clone, PartialEq)]
pub struct Glance {
    /// The time of the snapshot.
    pub now: Time,
    /// Counts, hosts, what needs attention, cost.
    pub overview: Overview,
    /// The projects.
    pub projects: Vec<Project>,
    /// The merge queues with entries.
    pub queues: Vec<Queue>,
    /// Running attempts, newest first; at most [`Glance::SHOWN`].
    pub running: Vec<Work>,
    /// Ended attempts, newest first; at most [`Glance::SHOWN`].
    pub ended: Vec<Work>,
    /// The throughput of the last [`Glance::MINUTES`] minutes, oldest first.
    pub pace: Vec<Minute>,
}

impl Glance {
    /// The maximum number of attempts in a list.
    pub const SHOWN: usize = 12;
    /// The number of minutes shown.
    pub const MINUTES: usize = 60;
}

/// The head of a merge queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The project.
    pub project: String,
    /// The first tasks: id and title.
    pub first: Vec<(String, String)>,
    /// The number of all entries.
    pub length: usize,
    /// Whether the first task is being merged.
    pub merging: bool,
}

/// An attempt in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The project.
    pub project: String,
    /// The task's id.
    pub id: String,
    /// The task's title.
    pub title: String,
    /// Counts from 1 in the task.
    pub number: u32,
    /// `work` or `check`.
    pub stage: String,
    /// The agent.
    pub agent: String,
    /// The host.
    pub host: String,
    /// Whether the state of the attempt is unknown.
    pub unknown: bool,
    /// See [`devstack_api::dto::Attempt::outcome`].
    pub outcome: Option<String>,
    /// The time of the order.
    pub started_at: Time,
    /// The time when the report was accepted.
    pub ended_at: Option<Time>,
}

/// The throughput of a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Attempts that exited 0.
    pub done: u32,
    /// All other attempts that ended.
    pub failed: u32,
    /// Completed merges.
    pub merged: u32,
}

/// Tasks by status, with the newest of each status.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// The time of the snapshot.
    pub now: Time,
    /// The names of all projects.
    pub projects: Vec<String>,
    /// The statuses, in the order of a task's life.
    pub columns: Vec<Column>,
}

/// The tasks of a status.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The status.
    pub status: String,
    /// The number of all tasks in it.
    pub count: u64,
    /// The most recently changed tasks, newest first.
    pub tasks: Vec<Task>,
}

/// What both sides of a conflict changed in their common paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// The integration branch.
    pub ours: Side,
    /// The blocked commit, or the commit of the user's repository.
    pub theirs: Side,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The patch, as git writes it.
    pub patch: String,
    /// Whether the patch was cut.
    pub cut: bool,
}
