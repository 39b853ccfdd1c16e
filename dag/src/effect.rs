//! What the world must now do, as data. The shell runs an effect only after its facts are durable. Every effect may run
//! again after a restart, so every executor is idempotent.
//! Deliberately absent: doing it.

use serde::{Deserialize, Serialize};

use crate::{
    attempt::Order,
    ids::{AttemptId, CommitId, HostName, MergeId, ProjectName, Text, Timestamp},
};

/// Something the shell must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Run an attempt on a host. A host that already has the attempt ignores this.
    StartAttempt {
        /// The host.
        host: HostName,
        /// The order. Its prompt is the text of the task's author. The shell, which reads long texts, composes the
        /// whole prompt.
        order: Box<Order>,
        /// The project's template of prompts; `None`: the shipped one.
        template: Option<Text>,
    },
    /// End an attempt; it is reported as [`crate::attempt::Outcome::Stopped`].
    StopAttempt {
        /// The host.
        host: HostName,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Report what an attempt left that has already ended here, because its host was lost or never reported its end:
    /// stop it if it runs, harvest, report. The host never starts it. The report is fenced, and its commit is pinned
    /// all the same.
    SalvageAttempt {
        /// The host.
        host: HostName,
        /// The order, for the harvest and for the search for secrets in the result.
        order: Box<Order>,
    },
    /// The report of this attempt is durable (or the attempt is fenced): the host removes all its files.
    ForgetAttempt {
        /// The host.
        host: HostName,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Merge this attempt's commit with the integration head, moving no ref; answered by `MergePrepared`,
    /// `MergeConflicted` or `MergeRefused`.
    PrepareMerge(MergeRequest),
    /// Move the integration ref from `onto` to `candidate`, prove it, answer `MergeLanded` or `MergeLost`. The intent
    /// is durable.
    PublishMerge {
        /// The project.
        project: ProjectName,
        /// The merge.
        merge: MergeId,
        /// The head it was prepared on.
        onto: CommitId,
        /// The merge commit.
        candidate: CommitId,
    },
    /// Update the source's integration branch to the hub's head, fast-forward only; answered by `Delivered` or
    /// `DeliveryBlocked`.
    Deliver(ProjectName),
    /// Answer with `TimerFired` after this time, on a clock that does not jump.
    SetTimer {
        /// The timer's purpose.
        timer: Timer,
        /// Milliseconds from now.
        after_ms: u64,
    },
}

/// What a merge needs beyond the commits: for its message, author and proof.
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

/// A timer's purpose. Firing a timer that is no longer needed changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// The back-off after attempt `number` of a task has ended.
    Backoff(AttemptId),
    /// A failed job of the shell may be requested again.
    Retry(crate::command::Job),
    /// The deadline of a draining host has passed.
    Drain {
        /// The host.
        host: HostName,
        /// Since when it drains: a later drain has a timer of its own.
        since: Timestamp,
    },
    /// The deadline of an attempt: it should have ended, and its host should have reported it.
    Deadline(AttemptId),
    /// A parked provider may be used again.
    Unpark {
        /// The provider.
        provider: Box<str>,
        /// Until when it is parked: a later parking has a timer of its own.
        until: Timestamp,
    },
}
