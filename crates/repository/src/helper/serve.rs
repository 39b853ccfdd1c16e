//! The child's side: limits first, then jobs from stdin, one at a time, answers to stdout. A thread with a large stack
//! does the jobs while the main thread waits for the next one. The end of the parent therefore also ends a child in the
//! middle of a job. Deliberately absent: the work of a job, and a filter of system calls.

use std::{
    io::{self, Write},
    process::{self, ExitCode},
    sync::mpsc,
    time::Duration,
};

use nix::sys::{
    prctl,
    resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
    time::TimeVal,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Budget, frame, program};

/// The exit code of a helper that reached its memory limit.
pub const EXIT_LIMIT: i32 = 96;
/// The exit code of a helper whose input is not a job.
const EXIT_NONSENSE: i32 = 2;
/// The stack of the thread that runs the jobs, in bytes: eight times that of a thread of the node.
const STACK: usize = 16 << 20;

/// Call this first in `main`. Returns whether this program was started as the helper of this name; then call [`serve`].
pub fn serves(name: &str) -> bool {
    program::is_asked_for(name)
}

/// Run jobs until stdin ends. `run` does one job.
pub fn serve<J, A>(name: &str, run: impl FnMut(J) -> A + Send + 'static) -> ExitCode
where
    J: DeserializeOwned,
    A: Serialize,
{
    if let Err(error) = confine(name) {
        eprintln!("cannot confine {name}: {error}");
        return ExitCode::FAILURE;
    }
    let (jobs, waiting) = mpsc::sync_channel(1);
    let worker = std::thread::Builder::new().stack_size(STACK).name(name.into());
    if let Err(error) = worker.spawn(move || work(&waiting, run)) {
        eprintln!("{name} cannot start its thread: {error}");
        return ExitCode::FAILURE;
    }
    let mut input = io::stdin().lock();
    loop {
        match frame::read(&mut input) {
            Ok(Some(body)) => {
                if jobs.send(body).is_err() {
                    return ExitCode::FAILURE;
                }
            }
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{name} is started by a node and reads its jobs: {error}");
                process::exit(EXIT_NONSENSE);
            }
        }
    }
}

/// A panic ends the whole process: the supervisor counts it as a crash.
fn work<J: DeserializeOwned, A: Serialize>(waiting: &mpsc::Receiver<Vec<u8>>, run: impl FnMut(J) -> A) {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            process::exit(if std::thread::panicking() { 101 } else { 0 });
        }
    }
    let (_end, mut run) = (End, run);
    for mut body in waiting {
        let job = frame::decode::<(Budget, J)>(&body);
        body.fill(0); // it may contain secret values
        let Ok((budget, job)) = job else { process::exit(EXIT_NONSENSE) };
        if limit(&budget).is_err() {
            process::exit(EXIT_NONSENSE);
        }
        let answer = run(job);
        let sent = frame::encode(&answer).and_then(|frame| {
            let mut output = io::stdout().lock();
            output.write_all(&frame).and_then(|()| output.flush())
        });
        if sent.is_err() {
            return; // nobody reads it
        }
    }
}

/// For the whole lifetime: no core dumps, no tracing, no network where this is permitted.
fn confine(name: &str) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)?;
    if let Ok(name) = std::ffi::CString::new(name) {
        prctl::set_name(&name)?;
    }
    // Not root, or root in a container without the permission: it has the node's network, and never uses it.
    let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
    Ok(())
}

/// For one job: additional processor time, and memory. `RLIMIT_AS` would count mapped packs.
fn limit(budget: &Budget) -> io::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let used = |time: TimeVal| Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or_default());
    let used = used(usage.user_time()) + used(usage.system_time());
    let seconds = (used + budget.cpu).as_secs() + 2; // both parts were rounded down
    for (resource, soft) in [(Resource::RLIMIT_CPU, seconds), (Resource::RLIMIT_DATA, budget.memory)] {
        let (_, hard) = getrlimit(resource)?;
        setrlimit(resource, soft.min(hard), hard)?;
    }
    Ok(())
}
