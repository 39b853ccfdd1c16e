//! The messages of the Taskmaster. Local only.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use devstack_dag::{
    Answer, Engine, Rejection,
    attempt::{Conflict, Outcome, Report, Start},
    command::{Command, HostReport},
    ids::{AttemptId, CommitId, HostName, ProjectName, Timestamp},
    plan::PlanSpec,
};
use ractor::Message;
use tokio::sync::oneshot;

use devstack_repository as repository;
use devstack_repository::{held::Guard, source::SourceError};
use devstack_store::{FactsPage, RequestKey, Store, StoreError};

/// Messages of the Taskmaster. Local only.
pub enum TaskmasterMessage {
    /// A user (through the gateway) or a timer requests a change.
    Ask(Ask),
    /// Add a plan; the project's hub is made ready first.
    SubmitPlan(SubmitPlan),
    /// Look up whether this request was already answered.
    Recall(Recall),
    /// Look at the engine; the answer is sent when everything it saw is durable.
    Look(Look),
    /// A page of facts, or a subscription to new ones.
    GetFacts(GetFacts),
    /// Show the whole current store; commits wait meanwhile.
    LookAtStore(LookAtStore),
    /// A host reports its full state.
    HostReported(HostReport),
    /// A host on another machine reports that it is alive.
    HostAlive(HostName),
    /// The link to a host went down.
    HostSilent(HostName),
    /// A host was removed: it has no lease.
    HostGone(HostName),
    /// A lease may have expired.
    LeaseDue,
    /// An attempt ended; its bundle, if any, is still on the host.
    AttemptExited(Exit),
    /// A DevOps actor answers.
    DevopsReported(Command),
    /// A DevOps actor made a project's hub ready, or failed.
    HubReady(HubReady),
}

impl Message for TaskmasterMessage {}

/// The answer to [`Ask`]: a refusal, or the engine's answer.
pub type AskReply = oneshot::Sender<Result<Answer, AskError>>;

/// A request that its caller can identify again.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller's name for it.
    pub key: RequestKey,
    /// BLAKE3 of its body: the same key with another body is refused.
    pub body_hash: [u8; 32],
}

/// A change.
pub struct Ask {
    /// The command.
    pub command: Command,
    /// Makes a repetition harmless: the same request gets the same answer.
    pub request: Option<Request>,
    /// Answered when the change is durable. `None` for timers.
    pub reply: Option<AskReply>,
}

/// A lookup of the answer to a request.
pub struct Recall {
    /// The request.
    pub request: Request,
    /// Its answer, once durable; `None` if the request is new.
    pub reply: oneshot::Sender<Option<Result<Answer, AskError>>>,
}

/// A plan.
pub struct SubmitPlan {
    /// The resolved plan.
    pub plan: PlanSpec,
    /// As in [`Ask`].
    pub request: Option<Request>,
    /// Answered when the plan is durable.
    pub reply: AskReply,
}

/// A DevOps actor's answer to "make the hub ready for this plan".
pub struct HubReady {
    /// The submission that waits for it.
    pub submission: u64,
    /// The hub, or why the source cannot be used.
    pub hub: Result<ReadyHub, SourceRefused>,
}

/// A hub that has followed its source as far as possible.
#[derive(Debug, Clone)]
pub struct ReadyHub {
    /// The integration head.
    pub head: CommitId,
    /// The conflict, if the source has commits that conflict with the head.
    pub conflict: Option<Conflict>,
}

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The engine refused; nothing changed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The request key was used for another body.
    #[error("the idempotency key was already used with another request")]
    KeyReused,
    /// The user's repository cannot be used.
    #[error(transparent)]
    Source(#[from] SourceRefused),
}

/// Why a user's repository cannot be used, with the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceRefused {
    /// What is wrong.
    pub message: String,
    /// The fix.
    pub hint: String,
    /// The kind of refusal.
    pub kind: SourceRefusal,
}

/// The kind of problem with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRefusal {
    /// The plan is wrong (exit code 2).
    Invalid,
    /// The current state of the source does not allow it (5).
    State,
    /// The node's configuration does not allow it (4).
    Forbidden,
}

impl SourceRefused {
    /// Errors of sources end with their fix after a semicolon.
    pub fn of(error: &repository::Error) -> Self {
        let kind = match error {
            repository::Error::Source(SourceError::NotAllowed { .. }) => SourceRefusal::Forbidden,
            repository::Error::Source(_) => SourceRefusal::Invalid,
            _ => SourceRefusal::State,
        };
        let text = error.to_string();
        let (message, hint) = text.split_once("; ").unwrap_or((&text, "see the node's log"));
        Self { message: message.to_owned(), hint: hint.to_owned(), kind }
    }
}

/// A view of the engine: computed at once, handed over when durable.
pub struct Look(pub Box<dyn FnOnce(&View<'_>) -> HandOver + Send>);

/// Gives the view to the caller.
pub type HandOver = Box<dyn FnOnce() + Send>;

/// The data that a look can see.
pub struct View<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The current time, as the engine would get it.
    pub now: Timestamp,
    /// The number of the last fact.
    pub seq: u64,
    /// The start of this Taskmaster: references into its engine are invalid in its successor's.
    pub since: Instant,
    /// How long ago a host on another machine was heard; `None` if it was not heard since the start, or is in this
    /// process.
    pub heard: &'a dyn Fn(&HostName) -> Option<Duration>,
}

/// A function that reads a store.
pub type StoreVisitor = Box<dyn FnOnce(&dyn Store) + Send>;

/// Reads the store between two commits, on the journal's thread. Not called when the journal is closed.
pub struct LookAtStore(pub StoreVisitor);

/// Facts after a number.
pub struct GetFacts {
    /// The last number that the reader has.
    pub after: u64,
    /// The maximum number of facts.
    pub limit: usize,
    /// A page, or "behind the horizon"; also a receiver that reports newer facts.
    pub reply: oneshot::Sender<FactsAnswer>,
}

/// A page, and a receiver for more.
pub struct FactsAnswer {
    /// The page, or `OutOfRange`: the reader is behind the horizon (or ahead of the present).
    pub page: Result<FactsPage, StoreError>,
    /// Changes whenever newer facts are durable.
    pub news: tokio::sync::watch::Receiver<u64>,
}

/// An attempt ended.
#[derive(Clone)]
pub struct Exit {
    /// The attempt's host.
    pub host: HostName,
    /// The report; `commit` is the sandbox's claim and not yet proven.
    pub report: Report,
    /// Its result, to be imported through the quarantine.
    pub bundle: Option<PathBuf>,
    /// The start of its workspace: the result must descend from it. The Taskmaster uses the value in its order.
    pub start: Start,
    /// The rules for a user's review of its result. The Taskmaster uses the values of its task and project.
    pub guard: Guard,
    /// Secret values of the attempt, to search for in the result.
    pub secrets: Vec<devstack_config::secrets::Secret>,
}

impl Exit {
    /// An attempt that left nothing.
    pub fn without_result(host: HostName, attempt: AttemptId, outcome: Outcome) -> Self {
        let report = Report::new(attempt, outcome);
        Self::of(host, report)
    }

    /// An exit with only this report.
    pub fn of(host: HostName, report: Report) -> Self {
        Self { host, report, bundle: None, start: Start::Empty, guard: Guard::NONE, secrets: Vec::new() }
    }

    /// The attempt.
    pub fn attempt(&self) -> &AttemptId {
        &self.report.attempt
    }

    /// Its project.
    pub fn project(&self) -> &ProjectName {
        &self.report.attempt.task.project
    }
}
