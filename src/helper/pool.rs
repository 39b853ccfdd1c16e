//! Warm helpers of one kind, and what an end of one means. What crashes a helper, or takes more than its budget, is tried
//! once more on a fresh one; the same again is a refusal of that job. What the machine did to it (a kill from outside, as
//! by the kernel when memory is short; no room for another process) says nothing about the job.
//! Deliberately absent: how many jobs run at once; each asker holds a thread while it waits.

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

/// Helpers that are kept though they have nothing to do.
const IDLE_MAX: usize = 4;
/// After so many jobs a helper is replaced: what a library keeps for itself is given back.
const JOBS_MAX: u32 = 1_000;
/// How often the machine may end a helper before that is an error.
const TRIES: u32 = 3;

/// What one job may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Processor time; counted in whole seconds.
    pub cpu: Duration,
    /// Private memory, in bytes.
    pub memory: u64,
    /// Time until the answer is there. A job that is late though its processor time is not used up waits for this
    /// machine.
    pub patience: Duration,
    /// The longest answer, in bytes.
    pub answer: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The job itself ends whatever does it: twice, on fresh helpers. Says how, for an agent and a person.
    #[error("reading it {0}")]
    Refused(String),
    /// This machine failed; the same job may be done later.
    #[error("a helper process failed: {0}; see what else this machine lacks (memory, processes, disk)")]
    Machine(String),
    /// Nobody waits for it any more.
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
    /// None runs yet.
    pub fn new(program: Program) -> Self {
        Self { program, idle: Mutex::default(), kind: PhantomData }
    }

    /// Has this done.
    pub fn ask(&self, job: &J, budget: &Budget, cancel: Option<&Cancel>) -> Result<A, Failure> {
        let frame = frame::encode(&(budget, job));
        let mut frame = frame.map_err(|error| Failure::Machine(format!("the job cannot be sent: {error}")))?;
        let answer = self.ask_as_often_as_needed(&frame, budget, cancel);
        frame.fill(0); // it may hold values of secrets
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
        Failure::Machine(format!("{} cannot be started: {error}", self.program.path.display()))
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
    (libc::SIGSYS, "makes the program that reads it do what it may not (SIGSYS)"),
];

fn meaning(end: End) -> Meaning {
    match end {
        End::Cancelled => Meaning::Cancelled,
        End::Signal(libc::SIGXCPU) => Meaning::Crash("takes more processor time than it may".into()),
        End::Signal(signal) => match OWN.iter().find(|(own, _)| *own == signal) {
            Some((_, how)) => Meaning::Crash((*how).into()),
            // SIGKILL: the kernel, when memory is short, or a person. SIGBUS: the disk failed under a mapped file.
            None => Meaning::Machine(format!("it was ended by signal {signal}")),
        },
        End::Exit(EXIT_LIMIT) => Meaning::Crash("takes more memory than it may".into()),
        // It ends so when its parent is gone, which is not true, and never otherwise.
        End::Exit(0) => Meaning::Machine("it ended by itself".into()),
        End::Exit(code) => Meaning::Crash(format!("fails in the program that reads it (exit code {code})")),
        End::Late => Meaning::Late,
        End::Nonsense(error) => Meaning::Crash(format!("makes the program that reads it talk nonsense ({error})")),
        End::System(error) => Meaning::Machine(error.to_string()),
    }
}
