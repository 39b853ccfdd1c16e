//! The helper that reads what others wrote: results of agents are judged in it, diffs are made in it. The jobs, their
//! answers, and what each may take.
//! Deliberately absent: processes and pipes ([`crate::helper`]), and writing to a hub: a helper writes to a scratch at most.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use devstack_dag::ids::CommitId;
use git2::{ErrorClass, Repository};
use serde::{Deserialize, Serialize};

use super::{
    Error,
    history::{self, Bounded},
    judge::{Judgement, Passed, loosen},
    policy::{self, Limits},
    quarantine::Refusal,
    scratch,
};
use crate::helper::{self, Budget, Cancel, EXIT_LIMIT, Failure, Helpers, Program};

/// The hidden first argument of a program that is started as this helper.
const NAME: &str = "git-worker";

/// A result within its limits is judged in seconds; one of 2 GiB in a minute.
const JUDGE: Budget =
    Budget { cpu: Duration::from_secs(120), memory: 1 << 30, patience: Duration::from_secs(600), answer: 4 << 20 };
/// People wait for it.
const DIFF: Budget =
    Budget { cpu: Duration::from_secs(20), memory: 1 << 30, patience: Duration::from_secs(50), answer: 64 << 20 };

/// The priority of what people look at, as `nice` has it.
const VIEWER_NICE: i32 = 10;

/// The helpers of this process.
pub(super) type Workers = Helpers<Job, Answer>;

/// What a helper does.
#[derive(Serialize, Deserialize)]
pub(super) enum Job {
    /// Judge a result.
    Judge(Judgement),
    /// Lay out all that came in a scratch as single objects for landing.
    Loosen { repo: PathBuf, scratch: PathBuf },
    /// Find conflict markers that neither side has.
    Markers { repo: PathBuf, tip: CommitId, sides: Vec<CommitId> },
    /// Show what changes.
    Diff(Diff),
}

/// A diff to be made.
#[derive(Serialize, Deserialize)]
pub(super) struct Diff {
    pub(super) repo: PathBuf,
    pub(super) from: CommitId,
    pub(super) to: CommitId,
    /// Only these; none: all.
    pub(super) paths: Vec<String>,
    /// Globs of files that come first.
    pub(super) first: Vec<String>,
    /// Bytes of the answer.
    pub(super) limit: usize,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Judged(Result<Passed, Refusal>),
    Done,
    Markers(Option<String>),
    Diff(Bounded),
    /// A commit that was named is not there.
    Unknown(CommitId),
    /// The disk or the library failed. For people.
    Failed(String),
}

impl Default for Workers {
    fn default() -> Self {
        Self::new(Program::here(NAME))
    }
}

/// To be called first in `main`: does the whole life of a worker, if this program was started as one.
pub fn serve_if_asked() -> Option<ExitCode> {
    helper::serves(NAME).then(|| helper::serve(NAME, run))
}

fn run(job: Job) -> Answer {
    match answer(job) {
        Ok(answer) => answer,
        Err(Error::Unknown(commit)) => Answer::Unknown(commit),
        Err(Error::Library(error)) if error.class() == ErrorClass::NoMemory => std::process::exit(EXIT_LIMIT),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

fn answer(job: Job) -> Result<Answer, Error> {
    match job {
        Job::Judge(judgement) => judgement.run().map(Answer::Judged),
        Job::Loosen { repo, scratch } => {
            let (came, there) = (scratch::came(&scratch)?, git2::Odb::new()?);
            scratch::add(&there, &repo.join("objects"))?;
            loosen(&came, &there, scratch::ids(&came)?, &scratch).map(|()| Answer::Done)
        }
        Job::Markers { repo, tip, sides } => {
            let bounds = Limits::default().bounds();
            policy::markers_left(&Repository::open_bare(&repo)?, tip, &sides, &bounds).map(Answer::Markers)
        }
        Job::Diff(diff) => {
            // What people look at waits for what works. Only refused if it is as low already.
            let _ = rustix::process::setpriority_process(None, VIEWER_NICE);
            history::diff(&Repository::open_bare(&diff.repo)?, &diff).map(Answer::Diff)
        }
    }
}

/// Has a job done.
pub(super) fn ask(workers: &Workers, job: &Job, cancel: Option<&Cancel>) -> Result<Answer, Error> {
    let budget = if matches!(job, Job::Diff(_)) { &DIFF } else { &JUDGE };
    match workers.ask(job, budget, cancel) {
        Ok(Answer::Unknown(commit)) => Err(Error::Unknown(commit)),
        Ok(Answer::Failed(why)) => Err(Error::Worker(why)),
        Ok(answer) => Ok(answer),
        Err(Failure::Refused(how)) => Err(Error::Unreadable(how)),
        Err(error) => Err(Error::Worker(error.to_string())),
    }
}

/// An answer to another question: a defect.
pub(super) fn other_answer() -> Error {
    Error::Worker("it answered another question".into())
}
