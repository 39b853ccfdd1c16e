//! The jobs of a DevOps actor: blocking git work. Each job is idempotent, and checks its fence before every externally
//! visible act. Deliberately absent: the queue (the actor) and the consequences of a result (the engine).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use devstack_dag::{
    attempt::{Branch, Conflict, Outcome, Report, Skipped},
    command::{self, Command},
    effect::MergeRequest,
    ids::{CommitId, MergeId, ProjectName, TaskId, Timestamp},
    plan::ProjectSpec,
};

use tokio::sync::mpsc;

use crate::{
    actor::{Fence, Fenced},
    taskmaster::message::{Exit, HubReady, ReadyHub, SourceRefused},
};
use devstack_repository as repository;
use devstack_repository::{
    ConflictFound, Hub, Hubs, Prepared, Published,
    deliver::Delivery,
    quarantine::{Accepted, Expectation, Imported, Refusal},
    reach::Rules,
    source::Source,
    sync::Synced,
};
use devstack_store::{
    Blobs,
    fault::{self, Point},
};

/// The data of a project that its jobs need.
pub struct Project {
    /// The project's description, as last submitted.
    pub spec: Mutex<ProjectSpec>,
    /// The node's hubs; `None` if there is no usable git here.
    pub hubs: Option<Arc<Hubs>>,
    /// Storage for texts too long for a record.
    pub blobs: Arc<Blobs>,
    /// The sources that it may use, with their credentials.
    pub rules: Arc<Rules>,
    /// Limits on results.
    pub limits: repository::policy::Limits,
    /// Notified when nothing can be made durable any more: the process must end, and never retries a sync.
    pub fatal: mpsc::UnboundedSender<String>,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
    /// Closes when the actor is restarted.
    pub fence: Fence,
}

/// A job.
pub enum Job {
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
}

impl PartialEq for Job {
    /// Whether doing both jobs equals doing one twice.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MakeHubReady { submission: a, .. }, Self::MakeHubReady { submission: b, .. }) => a == b,
            (Self::Import(a), Self::Import(b)) => a.attempt() == b.attempt(),
            (Self::Prepare(a), Self::Prepare(b)) => a == b,
            (Self::Publish { merge: a, .. }, Self::Publish { merge: b, .. }) => a == b,
            (Self::Deliver, Self::Deliver) => true,
            (Self::Release { due: a }, Self::Release { due: b }) => a == b,
            _ => false,
        }
    }
}

/// The result of a job.
pub enum Done {
    /// Nothing to report.
    Nothing,
    /// The actor was restarted.
    Fenced,
    /// It panicked.
    Panicked,
    /// It failed because of this machine, and nobody else would request it again.
    Again(Box<Job>),
    /// A command for the engine.
    Tell(Command),
    /// An answer for a waiting submission.
    HubReady(HubReady),
}

/// Why a job stopped.
enum Stop {
    Fenced,
    Failed(repository::Error),
}

impl From<Fenced> for Stop {
    fn from(_: Fenced) -> Self {
        Self::Fenced
    }
}

impl<E: Into<repository::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs a job.
pub(super) fn run(project: &Project, job: Job) -> Done {
    // The engine asks again after a back-off.
    let ask_again =
        |job| move |error: repository::Error| Done::Tell(Command::JobFailed { job, reason: error.to_string() });
    match job {
        Job::MakeHubReady { submission, fresh, spec } => {
            *project.spec.lock().unwrap_or_else(PoisonError::into_inner) = *spec;
            let ready = |hub| Done::HubReady(HubReady { submission, hub });
            project.settle(
                project.make_hub_ready(fresh),
                |hub| ready(Ok(hub)),
                |error| ready(Err(SourceRefused::of(&error))),
            )
        }
        Job::Import(exit) => project.settle(project.import((*exit).clone()), Done::Tell, |error| {
            tracing::error!(attempt = %exit.attempt(), %error, "the import failed; will retry");
            Done::Again(Box::new(Job::Import(exit)))
        }),
        Job::Prepare(request) => {
            let job = command::Job::Prepare(request.attempt.clone());
            project.settle(project.prepare(&request), Done::Tell, ask_again(job))
        }
        Job::Publish { merge, onto, candidate } => {
            let job = command::Job::Publish(project.name(), merge);
            project.settle(project.publish(merge, onto, candidate), Done::Tell, ask_again(job))
        }
        Job::Deliver => {
            let job = command::Job::Deliver(project.name());
            project.settle(project.deliver(), Done::Tell, ask_again(job))
        }
        Job::Release { due } => project.settle(
            project.release(&due),
            |()| Done::Nothing,
            |error| {
                tracing::warn!(%error, "cannot remove old attempt refs now");
                Done::Nothing
            },
        ),
    }
}

/// Puts an accepted result into a report. If the result is its own base, nothing changed: it only brought branches.
fn take(report: &mut Report, accepted: Accepted, base: CommitId) {
    let Accepted { tip, branches, left_out, held } = accepted;
    report.commit = (tip != base).then_some(tip);
    report.held = held.map(Into::into);
    report.left.branches = branches.into_iter().map(|(name, commit)| Branch { name: name.into(), commit }).collect();
    let skipped = |(name, why): (String, String)| Skipped { path: format!("branch {name}").into(), why: why.into() };
    report.left.skipped.extend(left_out.into_iter().map(skipped));
}

impl Project {
    /// The outcome of a result. After a failed sync nothing of this process may become durable any more.
    fn settle<T>(
        &self,
        result: Result<T, Stop>,
        done: impl FnOnce(T) -> Done,
        failed: impl FnOnce(repository::Error) -> Done,
    ) -> Done {
        match result {
            Ok(value) => done(value),
            Err(Stop::Fenced) => Done::Fenced,
            Err(Stop::Failed(error @ repository::Error::Unsynced { .. })) => {
                // If nobody listens, the process is already ending.
                let _ = self.fatal.send(error.to_string());
                Done::Fenced
            }
            Err(Stop::Failed(error)) => failed(error),
        }
    }

    fn name(&self) -> ProjectName {
        self.spec().name
    }

    fn spec(&self) -> ProjectSpec {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hubs(&self) -> Result<&Hubs, repository::Error> {
        let missing = || repository::Error::NoGit("no usable git on this host".into());
        self.hubs.as_deref().ok_or_else(missing)
    }

    fn hub(&self) -> Result<Arc<Hub>, repository::Error> {
        self.hubs()?.get(&self.name())
    }

    fn source(&self) -> Result<Source, repository::Error> {
        Source::locate_by(&self.rules, self.spec().source.as_deref().unwrap_or_default())
    }

    /// A project that the engine does not know yet gets a new hub; a hub left by a refused plan is moved aside.
    fn make_hub_ready(&self, fresh: bool) -> Result<ReadyHub, Stop> {
        let spec = self.spec();
        let source = self.source()?;
        let hubs = self.hubs()?;
        source.branches(hubs.git(), spec.base.as_deref(), &spec.integration)?;
        self.fence.check()?;
        if fresh {
            hubs.put_aside(&spec.name, (self.clock)().0)?;
        }
        let hub = hubs.get_or_create(&spec.name, &spec.integration)?;
        let (head, _) = hub.mirror_source(&source, spec.base.as_deref())?;
        self.fence.check()?;
        Ok(match hub.sync(&source, (self.clock)())? {
            Synced::Unchanged { head } | Synced::Moved { head } => ReadyHub { head, conflict: None },
            Synced::Conflict(found) => ReadyHub { head, conflict: Some(self.conflict_with_source(found)?) },
            // The delivery will tell the user what to do; the plan itself can be accepted.
            Synced::Refused(_) => ReadyHub { head, conflict: None },
        })
    }

    /// Quarantine, pin, report: a refused result ends the attempt as a policy finding.
    fn import(&self, exit: Exit) -> Result<Command, Stop> {
        let Exit { host, mut report, bundle, start, guard, secrets } = exit;
        // The commits pinned here count, not the host's claims.
        (report.commit, report.held, report.left.branches) = (None, None, Vec::new());
        let Some(bundle) = bundle else { return Ok(Command::FinishAttempt { host, report }) };
        if matches!(bundle.try_exists(), Ok(false)) {
            // Its host was removed, or nobody waits for it any more. A retry would not help.
            report.outcome = Outcome::Infrastructure("its result was removed before it was imported".into());
            return Ok(Command::FinishAttempt { host, report });
        }
        fault::point(Point::DevopsBeforeImport);
        let Some(base) = start.base() else { return Ok(Command::FinishAttempt { host, report }) };
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.expose().as_bytes().to_vec()).collect();
        let expected = Expectation {
            attempt: &report.attempt,
            base,
            must_contain: start.must_contain(),
            secrets: &secrets,
            guard: &guard,
            limits: self.limits,
            now: (self.clock)(),
        };
        self.fence.check()?;
        let imported = self.hub()?.import_result(&bundle, &expected)?;
        fault::point(Point::DevopsAfterPin);
        match imported {
            Imported::Accepted(accepted) => take(&mut report, accepted, base),
            Imported::Refused(refusal) => {
                tracing::warn!(attempt = %report.attempt, ?refusal, "the result was refused");
                report.commit = None;
                report.outcome = match refusal {
                    Refusal::Policy(finding) => Outcome::Policy(finding),
                    Refusal::Damaged(why) => Outcome::Infrastructure(format!("its result was damaged: {why}")),
                };
            }
        }
        Ok(Command::FinishAttempt { host, report })
    }

    fn prepare(&self, request: &MergeRequest) -> Result<Command, Stop> {
        self.fence.check()?;
        let attempt = request.attempt.clone();
        let prepared = match self.hub()?.prepare(request, (self.clock)()) {
            // A retry would not bring the commit: a user decides.
            Err(error @ repository::Error::NotPinned(_)) => Prepared::Refused(error.to_string()),
            prepared => prepared?,
        };
        fault::point(Point::DevopsAfterPrepare);
        Ok(match prepared {
            Prepared::Candidate { onto, commit } => Command::MergePrepared { attempt, onto, candidate: commit },
            // Handled like every merge: publishing finds that it already landed.
            Prepared::AlreadyContained { head } => Command::MergePrepared { attempt, onto: head, candidate: head },
            Prepared::Refused(reason) => Command::MergeRefused { attempt, reason },
            Prepared::Conflict(found) => Command::MergeConflicted { attempt, conflict: self.material(found)? },
        })
    }

    fn publish(&self, merge: MergeId, onto: CommitId, candidate: CommitId) -> Result<Command, Stop> {
        let project = self.name();
        let hub = self.hub()?;
        let lock = hub.lock()?;
        fault::point(Point::DevopsBeforeSwap);
        self.fence.check()?;
        let published = hub.publish(&lock, onto, candidate)?;
        fault::point(Point::DevopsAfterSwap);
        Ok(match published {
            Published::Landed { head } => Command::MergeLanded { merge, project, head },
            Published::Lost { head } => Command::MergeLost { merge, project, head },
        })
    }

    /// Fast-forward only; if the source moved, it is first merged in with a recorded sync merge.
    fn deliver(&self) -> Result<Command, Stop> {
        let project = self.name();
        let (hub, source) = (self.hub()?, self.source()?);
        fault::point(Point::DevopsBeforeDeliver);
        self.fence.check()?;
        let delivery = hub.deliver(&source)?;
        fault::point(Point::DevopsAfterDeliver);
        Ok(match delivery {
            Delivery::Delivered { head } => Command::Delivered { project, head },
            Delivery::Blocked { reason } => Command::DeliveryBlocked { project, reason },
            Delivery::Diverged => match hub.sync(&source, (self.clock)())? {
                // The engine records the head and requests the delivery again.
                Synced::Unchanged { head } | Synced::Moved { head } => Command::HeadMoved { project, head },
                Synced::Refused(reason) => Command::DeliveryBlocked { project, reason },
                Synced::Conflict(found) => {
                    Command::SourceConflicted { project, conflict: self.conflict_with_source(found)? }
                }
            },
        })
    }

    /// The text for resolving a conflict with the source.
    fn conflict_with_source(&self, mut found: ConflictFound) -> Result<Conflict, repository::Error> {
        let said = format!(
            "The branch `{}` of the user's repository has commits that devstack's branch lacks, and merging them \
             conflicts. Keep the intent of both sides.\n\n{}",
            self.spec().integration,
            found.messages,
        );
        found.messages = said;
        self.material(found)
    }

    /// A conflict in the form of records; a long text is durable before anything names it.
    fn material(&self, found: ConflictFound) -> Result<Conflict, repository::Error> {
        let ConflictFound { ours, theirs, base, paths, messages } = found;
        let text = self.blobs.text(&messages).map_err(|error| repository::Error::Io {
            what: "keep the material of the conflict with",
            path: theirs.to_string().into(),
            source: std::io::Error::other(error),
        })?;
        Ok(Conflict { ours, theirs, base, paths, text })
    }

    fn release(&self, due: &BTreeMap<TaskId, u32>) -> Result<(), Stop> {
        self.fence.check()?;
        let dropped = self.hub()?.drop_pins(due)?;
        if dropped > 0 {
            tracing::info!(project = %self.name(), dropped, "removed refs of finished attempts past their retention");
        }
        Ok(())
    }
}
