//! The helper that reads untrusted data: it judges results of agents and makes diffs. This file has the jobs, their
//! answers, and the limits of each. Deliberately absent: processes and pipes ([`crate::helper`]), and writing to a hub:
//! a helper writes at most to a scratch.

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

/// The hidden first argument with which a program is started as this helper.
const NAME: &str = "git-worker";

/// A result within its limits is judged in seconds; one of 2 GiB in a minute.
const JUDGE: Budget =
    Budget { cpu: Duration::from_secs(120), memory: 1 << 30, patience: Duration::from_secs(600), answer: 4 << 20 };
/// Users wait for it.
const DIFF: Budget =
    Budget { cpu: Duration::from_secs(20), memory: 1 << 30, patience: Duration::from_secs(50), answer: 64 << 20 };

/// The `nice` value for what users view.
const VIEWER_NICE: i32 = 10;

/// The helpers of this process.
pub(super) type Workers = Helpers<Job, Answer>;

/// A job of a helper.
#[derive(Serialize, Deserialize)]
pub(super) enum Job {
    /// Judge a result.
    Judge(Judgement),
    /// Prepare all new objects of a scratch as loose objects for landing.
    Loosen { repo: PathBuf, scratch: PathBuf },
    /// Find conflict markers that neither side has.
    Markers { repo: PathBuf, tip: CommitId, sides: Vec<CommitId> },
    /// Show the changes.
    Diff(Diff),
}

/// A requested diff.
#[derive(Serialize, Deserialize)]
pub(super) struct Diff {
    pub(super) repo: PathBuf,
    pub(super) from: CommitId,
    pub(super) to: CommitId,
    /// Only these paths; empty for all.
    pub(super) paths: Vec<String>,
    /// Globs of files that come first.
    pub(super) first: Vec<String>,
    /// Maximum size of the answer in bytes.
    pub(super) limit: usize,
}

/// The answer of a helper.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Judged(Result<Passed, Refusal>),
    Done,
    Markers(Option<String>),
    Diff(Bounded),
    /// A named commit does not exist.
    Unknown(CommitId),
    /// The disk or the library failed. For users.
    Failed(String),
}

impl Default for Workers {
    fn default() -> Self {
        Self::new(Program::here(NAME))
    }
}

/// Call this first in `main`: runs the whole life of a worker, if this program was started as one.
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
            // Work for viewers has lower priority than work for tasks. This is refused only if the priority is already
            // as low.
            let _ = rustix::process::setpriority_process(None, VIEWER_NICE);
            history::diff(&Repository::open_bare(&diff.repo)?, &diff).map(Answer::Diff)
        }
    }
}

/// Runs a job.
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

/// The answer of another request: a bug.
pub(super) fn other_answer() -> Error {
    Error::Worker("it sent the answer of another request".into())
}
