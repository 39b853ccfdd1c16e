//! The jobs of a DevOps actor: blocking git work, each idempotent, each checking its fence before an act that others
//! can see. Deliberately absent: the queue (the actor) and what follows from a result (the engine).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use devstack_dag::{
    attempt::{Branch, Conflict, Outcome, Report, Skipped, Start},
    command::{self, Command},
    effect::MergeRequest,
    ids::{CommitId, MergeId, ProjectName, TaskId, Timestamp},
    plan::ProjectSpec,
};

use tokio::sync::mpsc;

use crate::{
    actor::{Fence, Fenced},
    fault::{self, Point},
    repository::{
        self, ConflictFound, Hub, Hubs, Prepared, Published,
        deliver::Delivery,
        quarantine::{Accepted, Expectation, Imported, Refusal},
        reach::Rules,
        source::Source,
        sync::Synced,
    },
    store::Blobs,
    taskmaster::message::{Exit, HubReady, ReadyHub, SourceRefused},
};

/// A project as its jobs see it.
pub struct Project {
    /// The project's description, as last submitted.
    pub spec: Mutex<ProjectSpec>,
    /// The node's hubs; `None`: there is no usable git here.
    pub hubs: Option<Arc<Hubs>>,
    /// For texts too long for a record.
    pub blobs: Arc<Blobs>,
    /// Which sources it may use, and with what.
    pub rules: Arc<Rules>,
    /// Limits on results.
    pub limits: repository::policy::Limits,
    /// Told when nothing can be made durable any more: the process must end, and never tries a sync again.
    pub fatal: mpsc::UnboundedSender<String>,
    /// The wall clock.
    pub clock: fn() -> Timestamp,
    /// Closed when the actor is restarted.
    pub fence: Fence,
}

/// A job; see [`super::message::DevopsMessage`].
#[allow(missing_docs, reason = "the messages of the same names say it")]
pub enum Job {
    MakeHubReady { submission: u64, fresh: bool, spec: Box<ProjectSpec> },
    Import(Box<Exit>),
    Prepare(MergeRequest),
    Publish { merge: MergeId, onto: CommitId, candidate: CommitId },
    Deliver,
    Release { due: BTreeMap<TaskId, u32> },
}

impl PartialEq for Job {
    /// Would doing both be doing one twice?
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

/// What came of a job.
pub enum Done {
    /// Nobody needs to know.
    Nothing,
    /// Overtaken by a restart.
    Fenced,
    /// It panicked.
    Panicked,
    /// It failed for a reason of this machine, and nobody else would ask for it again.
    Again(Box<Job>),
    /// For the engine.
    Tell(Command),
    /// For a submission that waits.
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

/// Does a job.
pub(super) fn run(project: &Project, job: Job) -> Done {
    // The engine asks again after a backoff.
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
            tracing::error!(attempt = %exit.attempt(), %error, "the import failed; it is tried again");
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
                tracing::warn!(%error, "attempt refs stay for now");
                Done::Nothing
            },
        ),
    }
}

/// Put what was taken into a report. A result that is its own base changed nothing: only branches came with it.
fn take(report: &mut Report, accepted: Accepted, base: CommitId) {
    let Accepted { tip, branches, left_out, held } = accepted;
    report.commit = (tip != base).then_some(tip);
    report.held = held.map(Into::into);
    report.left.branches = branches.into_iter().map(|(name, commit)| Branch { name: name.into(), commit }).collect();
    let skipped = |(name, why): (String, String)| Skipped { path: format!("branch {name}").into(), why: why.into() };
    report.left.skipped.extend(left_out.into_iter().map(skipped));
}

impl Project {
    /// What comes of a result. After a failed sync nothing of this process may become durable any more.
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
                // Nobody listens: the process ends already.
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
        let missing = || repository::Error::NoGit("there is no usable git on this host".into());
        self.hubs.as_deref().ok_or_else(missing)
    }

    fn hub(&self) -> Result<Arc<Hub>, repository::Error> {
        self.hubs()?.get(&self.name())
    }

    fn source(&self) -> Result<Source, repository::Error> {
        Source::locate_by(&self.rules, self.spec().source.as_deref().unwrap_or_default())
    }

    /// A project that the engine does not know yet gets a hub of its own; one left by a refused plan is put aside.
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
            // Delivery will say what a person must do; the plan itself can be taken.
            Synced::Refused(_) => ReadyHub { head, conflict: None },
        })
    }

    /// Quarantine, pin, report: a result that is refused ends the attempt as a policy finding.
    fn import(&self, exit: Exit) -> Result<Command, Stop> {
        let Exit { host, mut report, bundle, start, guard, secrets } = exit;
        // What is pinned here counts, not what a host says.
        (report.commit, report.held, report.left.branches) = (None, None, Vec::new());
        let Some(bundle) = bundle else { return Ok(Command::FinishAttempt { host, report }) };
        if matches!(bundle.try_exists(), Ok(false)) {
            // Its host was removed, or nobody waits for it any more. Trying again would bring nothing.
            report.outcome = Outcome::Infrastructure("its result was removed before it was taken in".into());
            return Ok(Command::FinishAttempt { host, report });
        }
        fault::point(Point::DevopsBeforeImport);
        let (base, must_contain) = match start {
            Start::Empty => return Ok(Command::FinishAttempt { host, report }),
            Start::Commit { base, .. } => (base, vec![]),
            Start::Merging { base, theirs } => (base, vec![theirs]),
        };
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.expose().as_bytes().to_vec()).collect();
        let expected = Expectation {
            attempt: &report.attempt,
            base,
            must_contain: &must_contain,
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
            // Asking again would not bring the commit: a person decides.
            Err(error @ repository::Error::NotPinned(_)) => Prepared::Refused(error.to_string()),
            prepared => prepared?,
        };
        fault::point(Point::DevopsAfterPrepare);
        Ok(match prepared {
            Prepared::Candidate { onto, commit } => Command::MergePrepared { attempt, onto, candidate: commit },
            // The same way as every merge: publishing it finds it landed.
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

    /// Fast-forward only; a source that moved on is merged in first, in a recorded sync merge.
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
                // The engine takes note of the head and asks for the delivery again.
                Synced::Unchanged { head } | Synced::Moved { head } => Command::HeadMoved { project, head },
                Synced::Refused(reason) => Command::DeliveryBlocked { project, reason },
                Synced::Conflict(found) => {
                    Command::SourceConflicted { project, conflict: self.conflict_with_source(found)? }
                }
            },
        })
    }

    /// What whoever resolves a conflict with the source is told.
    fn conflict_with_source(&self, mut found: ConflictFound) -> Result<Conflict, repository::Error> {
        let said = format!(
            "The branch `{}` of the person's repository has commits that devstack's does not have, and merging them \
             conflicts. Keep what both sides are for.\n\n{}",
            self.spec().integration,
            found.messages,
        );
        found.messages = said;
        self.material(found)
    }

    /// A conflict as records hold it; a long text is durable before anything names it.
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
            tracing::info!(project = %self.name(), dropped, "refs of finished attempts are past their retention");
        }
        Ok(())
    }
}
