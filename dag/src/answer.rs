//! The answer to a command that was accepted.
//! Deliberately absent: refusals (see [`crate::Rejection`]) and wire formats.

use serde::{Deserialize, Serialize};

use crate::ids::{ProjectName, TaskRef};

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A plan was accepted. For an identical resubmission all counts but `unchanged` are zero.
    Plan {
        /// The project.
        project: ProjectName,
        /// The plan's number. For a resubmission that changes nothing: the number of the newest plan.
        number: u32,
        /// Tasks added.
        added: u32,
        /// Tasks changed that had not started.
        updated: u32,
        /// BLOCKED tasks changed and given a new budget.
        retried: u32,
        /// Tasks left unchanged.
        unchanged: u32,
    },
    /// Tasks were rejected.
    Cancelled {
        /// How many became REJECTED.
        rejected: u32,
        /// Tasks whose merge is in flight: they will finish.
        merging: Vec<TaskRef>,
    },
    /// The attempt of this report has ended, or is not the newest of its task: nothing changed.
    Fenced,
    /// The command was carried out; the facts say what changed.
    Done,
    /// The state was already as asked, or the command no longer matters: nothing changed.
    Unchanged,
}
