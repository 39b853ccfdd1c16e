//! What the dashboard shows of the whole: as much of it as fits on a page.
//! Deliberately absent: a place in the API. These are views of one page each, and change with it.

use super::{Overview, Project, Task, Time};

/// Everything at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Glance {
    /// When it was seen.
    pub now: Time,
    /// Counts, hosts, what waits, what it cost.
    pub overview: Overview,
    /// The projects.
    pub projects: Vec<Project>,
    /// The merge queues that are not empty.
    pub queues: Vec<Queue>,
    /// Attempts that run, the newest first; at most [`Glance::SHOWN`].
    pub running: Vec<Work>,
    /// Attempts that ended, the newest first; at most [`Glance::SHOWN`].
    pub ended: Vec<Work>,
    /// What ended in each of the last [`Glance::MINUTES`] minutes, oldest first.
    pub pace: Vec<Minute>,
}

impl Glance {
    /// Attempts in a list.
    pub const SHOWN: usize = 12;
    /// Minutes that are looked back at.
    pub const MINUTES: usize = 60;
}

/// The head of a merge queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The project.
    pub project: String,
    /// The first tasks: id and title.
    pub first: Vec<(String, String)>,
    /// All of them.
    pub length: usize,
    /// Is the first one being merged now?
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
    /// Who.
    pub agent: String,
    /// Where.
    pub host: String,
    /// Does nobody know how it is?
    pub unknown: bool,
    /// See [`super::Attempt::outcome`].
    pub outcome: Option<String>,
    /// When it was ordered.
    pub started_at: Time,
    /// When its report was accepted.
    pub ended_at: Option<Time>,
}

/// What ended in a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Attempts that exited 0.
    pub done: u32,
    /// Attempts that did not.
    pub failed: u32,
    /// Merges that landed.
    pub merged: u32,
}

/// Tasks by status, each status with its newest.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// When it was seen.
    pub now: Time,
    /// The names of all projects.
    pub projects: Vec<String>,
    /// The statuses in the order of a task's life.
    pub columns: Vec<Column>,
}

/// The tasks of a status.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Which.
    pub status: String,
    /// How many there are.
    pub count: u64,
    /// Those that changed last, the newest first.
    pub tasks: Vec<Task>,
}

/// What both sides of a conflict changed in the paths that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// The integration branch.
    pub ours: Side,
    /// The blocked commit, or the source's.
    pub theirs: Side,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// As git writes it.
    pub patch: String,
    /// Was it longer?
    pub cut: bool,
}
