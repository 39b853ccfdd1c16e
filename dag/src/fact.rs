//! What happened: the bounded, numbered history that streams to readers. Facts alone rebuild the state.
//! Append-only: a variant is never inserted, removed or reordered (bincode numbers them).

use serde::{Deserialize, Serialize};

use crate::{
    ids::{CommitId, ProjectName, Timestamp},
    plan::{ProjectSpec, TaskSpec},
};

/// Something that happened, with the time it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: FactKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactKind {
    /// A project was created or its description changed.
    ProjectDescribed {
        /// Its description.
        spec: ProjectSpec,
        /// The integration head, with a repository.
        head: Option<CommitId>,
    },
    /// Tasks were added by a plan. Split so that a fact stays within 16 KiB.
    TasksAdded {
        /// The project.
        project: ProjectName,
        /// The plan's number.
        plan: u32,
        /// The tasks.
        tasks: Vec<TaskSpec>,
    },
}
