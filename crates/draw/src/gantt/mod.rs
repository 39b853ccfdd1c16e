//! Draws attempts on a time axis: a row for each agent on a host, a bar for each attempt. The current time is an
//! argument.
//! Deliberately absent: which attempts exist, and time zones (all times are UTC).

mod rows;
mod svg;
mod ticks;

use devstack_dag::attempt::Stage;

pub use svg::gantt;
pub use ticks::{Tick, ticks};

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The host.
    pub host: String,
    /// The project of its task.
    pub project: String,
    /// The task's id.
    pub task: String,
    /// Counts from 1 in the task.
    pub number: u32,
    /// The agent.
    pub agent: String,
    /// Work or check.
    pub stage: Stage,
    /// The state of the attempt.
    pub state: State,
    /// The stable word of the outcome; `None`: the attempt is running.
    pub outcome: Option<String>,
    /// The start, in milliseconds since 1970-01-01 UTC.
    pub started: u64,
    /// The end; `None`: the attempt is running.
    pub ended: Option<u64>,
}

/// The state of an attempt, as its bar shows it. Where many attempts share a bar, the bar shows the last of these
/// states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The attempt succeeded.
    Done,
    /// The attempt ended without a result and was not charged.
    Returned,
    /// The attempt failed and was charged.
    Failed,
    /// The attempt is running.
    Running,
    /// The state is unknown, because the host is silent.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Done, Self::Returned, Self::Failed, Self::Running, Self::Unknown];

    /// The word of the state, which is also its class.
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

/// Options of a drawing.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The left end, in milliseconds since 1970-01-01 UTC.
    pub from: u64,
    /// The right end.
    pub until: u64,
    /// The current time: running bars end here, and a line marks it if it lies between the ends.
    pub now: u64,
    /// Makes the address of an attempt; `None`: no links.
    pub link: Option<&'a dyn Fn(&Span) -> String>,
    /// The maximum number of rows; the rest is only counted.
    pub rows: usize,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gantt {
    /// Two `svg` elements, the bars and the names of their rows; the page has their style sheet.
    pub svg: String,
    /// The number of rows in the picture.
    pub rows: usize,
    /// The number of rows left out.
    pub left_out: usize,
    /// The number of attempts in the rows of the picture.
    pub attempts: usize,
}
