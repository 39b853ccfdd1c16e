//! What the Taskmaster is asked and told. Local only.

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

use crate::{
    repository::{self, held::Guard, source::SourceError},
    store::{FactsPage, RequestKey, Store, StoreError},
};

/// Local only.
pub enum TaskmasterMessage {
    /// A person (through the gateway) or a timer asks for a change.
    Ask(Ask),
    /// Add a plan; the project's hub is made ready first.
    SubmitPlan(SubmitPlan),
    /// Was this request answered before?
    Recall(Recall),
    /// Look at the engine; the answer goes out when everything that was seen is durable.
    Look(Look),
    /// A page of facts, or a subscription to new ones.
    GetFacts(GetFacts),
    /// Show the whole store as it stands; commits wait meanwhile.
    LookAtStore(LookAtStore),
    /// A host reports its full state.
    HostReported(HostReport),
    /// A host on another machine says that it lives.
    HostAlive(HostName),
    /// The link to a host went down.
    HostSilent(HostName),
    /// A host is no member any more: it has no lease.
    HostGone(HostName),
    /// Somebody's lease may have run out.
    LeaseDue,
    /// An attempt is over; its bundle, if any, still lies on the host.
    AttemptExited(Exit),
    /// A DevOps actor answers.
    DevopsReported(Command),
    /// A DevOps actor made a project's hub ready, or could not.
    HubReady(HubReady),
}

impl Message for TaskmasterMessage {}

/// The answer to [`Ask`]: refused, or what the engine says.
pub type AskReply = oneshot::Sender<Result<Answer, AskError>>;

/// A request that its asker can name again.
#[derive(Debug, Clone)]
pub struct Request {
    /// The asker's name for it.
    pub key: RequestKey,
    /// BLAKE3 of its body: the same key with another body is refused.
    pub body_hash: [u8; 32],
}

/// A change.
pub struct Ask {
    /// What.
    pub command: Command,
    /// Makes a repetition harmless: the same request gives the same answer.
    pub request: Option<Request>,
    /// Answered when the change is durable. `None` for timers.
    pub reply: Option<AskReply>,
}

/// A look for the answer that a request got.
pub struct Recall {
    /// The request.
    pub request: Request,
    /// Its answer, once it is durable; `None`: it is new.
    pub reply: oneshot::Sender<Option<Result<Answer, AskError>>>,
}

/// A plan.
pub struct SubmitPlan {
    /// The plan, resolved.
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

/// A hub that has followed its source as far as it can.
#[derive(Debug, Clone)]
pub struct ReadyHub {
    /// The integration head.
    pub head: CommitId,
    /// The source has commits that conflict with it.
    pub conflict: Option<Conflict>,
}

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The engine refused; nothing changed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The request key was used for another body.
    #[error("the idempotency key was used before with another request")]
    KeyReused,
    /// The person's repository cannot be used.
    #[error(transparent)]
    Source(#[from] SourceRefused),
}

/// Why a person's repository cannot be used, with the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceRefused {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// What is wrong with it.
    pub kind: SourceRefusal,
}

/// What is wrong with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRefusal {
    /// The plan is wrong (exit code 2).
    Invalid,
    /// The present state of the source does not allow it (5).
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

/// Gives the view to whoever asked.
pub type HandOver = Box<dyn FnOnce() + Send>;

/// What a look sees.
pub struct View<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Now, as the engine would be told.
    pub now: Timestamp,
    /// The number of the last fact.
    pub seq: u64,
    /// Since when this Taskmaster lives: what points into its engine is void in its successor's.
    pub since: Instant,
    /// How long ago a host on another machine was heard; `None`: it was not since the start, or is of this process.
    pub heard: &'a dyn Fn(&HostName) -> Option<Duration>,
}

/// What looks at a store.
pub type StoreVisitor = Box<dyn FnOnce(&dyn Store) + Send>;

/// A look at the store between two commits, on the journal's thread. Not called when the journal is closed.
pub struct LookAtStore(pub StoreVisitor);

/// Facts after a number.
pub struct GetFacts {
    /// The last number the reader has.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// A page, or "behind the horizon"; with it a receiver that says when there are more.
    pub reply: oneshot::Sender<FactsAnswer>,
}

/// A page and the way to more.
pub struct FactsAnswer {
    /// The page, or `OutOfRange`: the reader is behind the horizon (or ahead of the present).
    pub page: Result<FactsPage, StoreError>,
    /// Changes whenever newer facts are durable.
    pub news: tokio::sync::watch::Receiver<u64>,
}

/// An attempt is over.
#[derive(Clone)]
pub struct Exit {
    /// The host that it was on.
    pub host: HostName,
    /// How it went; `commit` is what the sandbox claims and is not yet proven.
    pub report: Report,
    /// Its result, to be taken through quarantine.
    pub bundle: Option<PathBuf>,
    /// What its workspace started from: the result must descend from it. The Taskmaster goes by what it ordered.
    pub start: Start,
    /// When a person must look at its result. The Taskmaster goes by what its task and project say.
    pub guard: Guard,
    /// Values of the attempt's secrets, to be searched for in the result.
    pub secrets: Vec<crate::config::secrets::Secret>,
}

impl Exit {
    /// An attempt that left nothing.
    pub fn without_result(host: HostName, attempt: AttemptId, outcome: Outcome) -> Self {
        let report = Report::new(attempt, outcome);
        Self::of(host, report)
    }

    /// A report without more than it says.
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
