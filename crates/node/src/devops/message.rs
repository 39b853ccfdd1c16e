//! The requests to a project's DevOps actor. Local only.

use std::collections::BTreeMap;

use devstack_dag::{
    effect::MergeRequest,
    ids::{CommitId, MergeId, TaskId},
    plan::ProjectSpec,
};
use ractor::Message;

use super::jobs::{Done, Job};
use crate::taskmaster::message::Exit;

/// Messages of a DevOps actor. Local only.
pub enum DevopsMessage {
    /// Make the hub ready for a plan: create it, or update it from the source.
    MakeHubReady {
        /// Returned in the answer.
        submission: u64,
        /// The engine does not know the project yet: an existing hub belongs to nobody.
        fresh: bool,
        /// The project as submitted.
        spec: Box<ProjectSpec>,
    },
    /// Import an attempt's result through the quarantine and pin it, then report the attempt.
    Import(Box<Exit>),
    /// Prepare a merge.
    Prepare(MergeRequest),
    /// Publish a prepared merge; its intent is durable.
    Publish {
        /// The merge.
        merge: MergeId,
        /// The head on which it was prepared.
        onto: CommitId,
        /// The merge commit.
        candidate: CommitId,
    },
    /// Update the source.
    Deliver,
    /// Drop attempt refs whose retention period is over.
    Release {
        /// Finished tasks, and the last attempt to drop of each.
        due: BTreeMap<TaskId, u32>,
    },
    /// A failed job is due again.
    Again(Box<Job>),
    /// The running job ended.
    JobDone(Done),
}

impl Message for DevopsMessage {}
