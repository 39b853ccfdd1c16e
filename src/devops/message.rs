//! What a project's DevOps actor is asked. Local only.

use std::collections::BTreeMap;

use devstack_dag::{
    effect::MergeRequest,
    ids::{CommitId, MergeId, TaskId},
    plan::ProjectSpec,
};
use ractor::Message;

use super::jobs::{Done, Job};
use crate::taskmaster::message::Exit;

/// Local only.
pub enum DevopsMessage {
    /// Make the hub ready for a plan: create it, or bring it up to date with the source.
    MakeHubReady {
        /// Comes back in the answer.
        submission: u64,
        /// The engine does not know the project yet: whatever hub is there belongs to nobody.
        fresh: bool,
        /// The project as submitted.
        spec: Box<ProjectSpec>,
    },
    /// Take an attempt's result through quarantine and pin it, then report the attempt.
    Import(Box<Exit>),
    /// Prepare a merge.
    Prepare(MergeRequest),
    /// Publish a prepared merge; its intent is durable.
    Publish {
        /// Which merge.
        merge: MergeId,
        /// The head it was prepared on.
        onto: CommitId,
        /// The merge commit.
        candidate: CommitId,
    },
    /// Bring the source up to date.
    Deliver,
    /// Attempt refs that are past their retention may go.
    Release {
        /// Finished tasks, and up to which attempt.
        due: BTreeMap<TaskId, u32>,
    },
    /// A job that failed is due again.
    Again(Box<Job>),
    /// The running job is over.
    JobDone(Done),
}

impl Message for DevopsMessage {}
