//! Warm helpers of one kind, and what the end of a helper means. A job that crashes a helper, or exceeds its budget, is
//! tried once more on a fresh helper; a second failure is a refusal of that job. An end caused by the machine (a kill
//! from outside, as by the kernel when memory is short; no room for another process) says nothing about the job.
//! Deliberately absent: how many jobs run at once; each caller holds a thread while it waits.

use std::{
    io,
    marker::PhantomData,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::libc;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Cancel, EXIT_LIMIT, Program, frame,
    process::{End, Process},
};

/// Maximum number of idle helpers that are kept.
const IDLE_MAX: usize = 4;
/// A helper is replaced after this many jobs, to free memory that a library keeps for itself.
const JOBS_MAX: u32 = 1_000;
/// How often the machine may end a helper before the job fails.
const TRIES: u32 = 3;

/// The limits of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Processor time; counted in whole seconds.
    pub cpu: Duration,
    /// Private memory, in bytes.
    pub memory: u64,
    /// Time until the answer. A job that is late although its processor time is not used up is waiting for this
    /// machine.
    pub patience: Duration,
    /// The longest answer, in bytes.
    pub answer: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The job ends every helper that runs it: twice, on fresh helpers. Says how, for an agent or a user.
    #[error("reading it {0}")]
    Refused(String),
    /// This machine failed; the job may be retried later.
    #[error("a helper process failed: {0}; check this machine's memory, process limit and disk")]
    Machine(String),
    /// Nobody waits for the answer any more.
    #[error("the job was cancelled")]
    Cancelled,
}

/// Helpers for jobs `J`, answered with `A`. Calls block.
pub struct Helpers<J, A> {
    program: Program,
    idle: Mutex<Vec<Process>>,
    kind: PhantomData<fn(J) -> A>,
}

impl<J: Serialize, A: DeserializeOwned> Helpers<J, A> {
    /// A pool without running helpers.
    pub fn new(program: Program) -> Self {
        Self { program, idle: Mutex::default(), kind: PhantomData }
    }

    /// Runs a job.
    pub fn ask(&self, job: &J, budget: &Budget, cancel: Option<&Cancel>) -> Result<A, Failure> {
        let frame = frame::encode(&(budget, job));
        let mut frame = frame.map_err(|error| Failure::Machine(format!("cannot send the job: {error}")))?;
        let answer = self.ask_as_often_as_needed(&frame, budget, cancel);
        frame.fill(0); // it may contain secret values
        answer
    }

    fn ask_as_often_as_needed(&self, frame: &[u8], budget: &Budget, cancel: Option<&Cancel>) -> Result<A, Failure> {
        let (mut warm, mut crashes, mut failures) = (self.warm(), 0, 0);
        loop {
            let mut helper = match warm.take() {
                Some(helper) => helper,
                None => Process::start(&self.program).map_err(|error| self.not_started(&error))?,
            };
            let answered = helper.ask(frame, budget.patience, budget.answer, cancel);
            let end = match answered.and_then(|body| frame::decode(&body).map_err(End::Nonsense)) {
                Ok(answer) => {
                    self.keep(helper);
                    return Ok(answer);
                }
                Err(end) => end,
            };
            match meaning(end) {
                Meaning::Cancelled => return Err(Failure::Cancelled),
                Meaning::Crash(how) => {
                    crashes += 1;
                    tracing::warn!(program = %self.program.path.display(), %how, crashes, "a helper process ended");
                    if crashes == 2 {
                        return Err(Failure::Refused(how));
                    }
                }
                Meaning::Late => return Err(Failure::Machine("it did not answer in time".into())),
                Meaning::Machine(why) => {
                    failures += 1;
                    tracing::warn!(program = %self.program.path.display(), %why, failures, "a helper process was ended");
                    if failures == TRIES {
                        return Err(Failure::Machine(why));
                    }
                }
            }
        }
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        Failure::Machine(format!("cannot start {}: {error}", self.program.path.display()))
    }

    fn warm(&self) -> Option<Process> {
        loop {
            let mut helper = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if helper.is_alive() {
                return Some(helper);
            }
        }
    }

    fn keep(&self, helper: Process) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && helper.done < JOBS_MAX {
            idle.push(helper);
        }
    }
}

impl<J, A> std::fmt::Debug for Helpers<J, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Helpers").field("program", &self.program).finish_non_exhaustive()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Crash(String),
    Machine(String),
    Late,
    Cancelled,
}

/// Signals with which a program ends itself.
const OWN: [(i32, &str); 6] = [
    (libc::SIGSEGV, "crashes the program that reads it (SIGSEGV)"),
    (libc::SIGABRT, "crashes the program that reads it (SIGABRT)"),
    (libc::SIGILL, "crashes the program that reads it (SIGILL)"),
    (libc::SIGFPE, "crashes the program that reads it (SIGFPE)"),
    (libc::SIGTRAP, "crashes the program that reads it (SIGTRAP)"),
    (libc::SIGSYS, "makes the program that reads it call a forbidden system call (SIGSYS)"),
];

fn meaning(end: End) -> Meaning {
    match end {
        End::Cancelled => Meaning::Cancelled,
        End::Signal(libc::SIGXCPU) => Meaning::Crash("exceeds its processor time".into()),
        End::Signal(signal) => match OWN.iter().find(|(own, _)| *own == signal) {
            Some((_, how)) => Meaning::Crash((*how).into()),
            // SIGKILL: the kernel, when memory is short, or a user. SIGBUS: the disk failed under a mapped file.
            None => Meaning::Machine(format!("it was ended by signal {signal}")),
        },
        End::Exit(EXIT_LIMIT) => Meaning::Crash("exceeds its memory limit".into()),
        // A helper ends like this only when its parent is gone, which is not the case here.
        End::Exit(0) => Meaning::Machine("it ended by itself".into()),
        End::Exit(code) => Meaning::Crash(format!("fails in the program that reads it (exit code {code})")),
        End::Late => Meaning::Late,
        End::Nonsense(error) => {
            Meaning::Crash(format!("makes the program that reads it send an invalid answer ({error})"))
        }
        End::System(error) => Meaning::Machine(error.to_string()),
    }
}
