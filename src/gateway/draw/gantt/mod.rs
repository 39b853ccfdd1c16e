//! Attempts on a time axis: a row for each agent on a host, a bar for each attempt. What time it is comes in as an argument.
//! Deliberately absent: which attempts there are, and time zones (all is UTC).

mod rows;
mod svg;
mod ticks;

use devstack_dag::attempt::Stage;

pub use svg::gantt;
pub use ticks::{Tick, ticks};

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where.
    pub host: String,
    /// The project of its task.
    pub project: String,
    /// The task's id.
    pub task: String,
    /// Counts from 1 in the task.
    pub number: u32,
    /// By whom.
    pub agent: String,
    /// What for.
    pub stage: Stage,
    /// How it is.
    pub state: State,
    /// The stable word of its outcome; `None`: it runs.
    pub outcome: Option<String>,
    /// In milliseconds since 1970-01-01 UTC.
    pub started: u64,
    /// `None`: it runs.
    pub ended: Option<u64>,
}

/// How an attempt is, as a bar tells it. The later, the more it is worth seeing where many are drawn as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It ended well.
    Done,
    /// It ended without a result and was not charged.
    Returned,
    /// It was charged.
    Failed,
    /// It runs.
    Running,
    /// Nobody knows.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Done, Self::Returned, Self::Failed, Self::Running, Self::Unknown];

    /// The word for it, and its class.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Returned => "returned",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::Unknown => "unknown",
        }
    }
}

/// What is wanted.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The left end, in milliseconds since 1970-01-01 UTC.
    pub from: u64,
    /// The right end.
    pub until: u64,
    /// Running bars reach here; a line marks it if it is between the ends.
    pub now: u64,
    /// The address of an attempt; `None`: nothing can be clicked.
    pub link: Option<&'a dyn Fn(&Span) -> String>,
    /// Rows at most: the rest is counted.
    pub rows: usize,
}

/// The picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gantt {
    /// Two `svg` elements, the bars and the names of their rows; their style comes from the page.
    pub svg: String,
    /// Rows drawn.
    pub rows: usize,
    /// Rows that were left out.
    pub left_out: usize,
    /// Attempts in the rows that are drawn.
    pub attempts: usize,
}
