//! What the asker of a command gets when it was accepted.
//! Deliberately absent: refusals (see [`crate::Rejection`]) and wire formats.

use serde::{Deserialize, Serialize};

use crate::ids::{ProjectName, TaskRef};

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A plan was accepted. An identical resubmission has all counts but `unchanged` at zero.
    Plan {
        /// The project.
        project: ProjectName,
        /// The plan's number; of a resubmission that changes nothing, the newest plan's.
        number: u32,
        /// Tasks added.
        added: u32,
        /// Tasks changed that had not started.
        updated: u32,
        /// BLOCKED tasks changed and given a new budget.
        retried: u32,
        /// Tasks left alone.
        unchanged: u32,
    },
    /// Tasks were given up.
    Cancelled {
        /// How many became REJECTED.
        rejected: u32,
        /// Tasks whose merge is in flight: they finish.
        merging: Vec<TaskRef>,
    },
    /// The attempt of this report is not the newest of its task, or is over: nothing changed.
    Fenced,
    /// Done; the facts say what changed.
    Done,
    /// It was so already, or is no longer of interest: nothing changed.
    Unchanged,
}
