//! What the world must now do, as data. The shell runs an effect only after the facts that led to it are
//! durable; every effect may be run again after a restart, so every executor is idempotent.
//! Deliberately absent: doing it.

use serde::{Deserialize, Serialize};

use crate::{
    attempt::Order,
    ids::{AttemptId, CommitId, HostName, MergeId, ProjectName, Text, Timestamp},
};

/// Something the shell must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Run an attempt on a host. A host that already has it ignores this.
    StartAttempt {
        /// Where.
        host: HostName,
        /// What. Its prompt is what the task's author wrote: the shell, which reads long texts, composes the whole.
        order: Box<Order>,
        /// The project's template of prompts; `None`: the shipped one.
        template: Option<Text>,
    },
    /// End an attempt; it is reported as [`crate::attempt::Outcome::Stopped`].
    StopAttempt {
        /// Where it runs.
        host: HostName,
        /// Which.
        attempt: AttemptId,
    },
    /// Give in what an attempt left that is over here already, because its host was lost or nobody heard of its end: end
    /// it if it runs, harvest, report. Never starts it. The report is fenced, and its commit pinned all the same.
    SalvageAttempt {
        /// Where it is.
        host: HostName,
        /// What it was, for the harvest and for the search for secrets in it.
        order: Box<Order>,
    },
    /// The report of this attempt is durable (or the attempt is fenced): the host removes everything it keeps of it.
    ForgetAttempt {
        /// Where it ran.
        host: HostName,
        /// Which.
        attempt: AttemptId,
    },
    /// Merge this attempt's commit with the integration head, moving no ref; answered by `MergePrepared`,
    /// `MergeConflicted` or `MergeRefused`.
    PrepareMerge(MergeRequest),
    /// Move the integration ref from `onto` to `candidate`, prove it, answer `MergeLanded` or `MergeLost`. The intent is durable.
    PublishMerge {
        /// The project.
        project: ProjectName,
        /// Which merge.
        merge: MergeId,
        /// The head it was prepared on.
        onto: CommitId,
        /// The merge commit.
        candidate: CommitId,
    },
    /// Bring the source's integration branch up to the hub's, fast-forward only; answered by `Delivered` or `DeliveryBlocked`.
    Deliver(ProjectName),
    /// Answer with `TimerFired` after this time, on a clock that does not jump.
    SetTimer {
        /// What it is for.
        timer: Timer,
        /// Milliseconds from now.
        after_ms: u64,
    },
}

/// What a merge needs to know beyond the commits: for its message, author and proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRequest {
    /// The accepted attempt, whose commit is pinned in the hub.
    pub attempt: AttemptId,
    /// Its commit.
    pub commit: CommitId,
    /// The branch's name in the message: `feat/dev1`.
    pub branch: String,
    /// The task's title.
    pub title: String,
    /// For a resolution task: both commits that must be ancestors of the result.
    pub must_contain: Vec<CommitId>,
}

/// A timer's purpose; firing one that is no longer needed changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// The backoff after attempt `number` of a task is over.
    Backoff(AttemptId),
    /// A failed shell job may be asked again.
    Retry(crate::command::Job),
    /// The attempts of a draining host have had their time.
    Drain {
        /// Which.
        host: HostName,
        /// Since when it drains: a later drain has a timer of its own.
        since: Timestamp,
    },
    /// An attempt should have ended, and its host have said how.
    Deadline(AttemptId),
    /// A parked provider may be asked again.
    Unpark {
        /// Which.
        provider: Box<str>,
        /// Until when it is parked: a later parking has a timer of its own.
        until: Timestamp,
    },
}
