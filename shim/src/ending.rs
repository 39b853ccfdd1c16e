//! Ends every process below this one: children, orphans, and processes that called setsid or forked twice (the shim is
//! their subreaper, so all of them are its descendants).
//!
//! Processes are stopped first, in case one forks without end: a stopped process cannot fork, so each round leaves
//! fewer.

use std::{collections::HashSet, time::Duration};

use devstack_shim::procs::{self, Process};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid},
};

use crate::clock;

/// How long to try. Nobody can end a process that is in an uninterruptible system call.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The result of [`reap`].
pub(crate) enum Reaped {
    /// This child ended.
    Child(Pid, WaitStatus),
    /// Children exist, but none ended.
    NoneYet,
    /// No child exists, so no descendant either.
    Childless,
}

/// Reaps one child that ended, if there is one.
pub(crate) fn reap() -> Reaped {
    loop {
        return match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => Reaped::NoneYet,
            Ok(status) => match status.pid() {
                Some(pid) => Reaped::Child(pid, status),
                None => continue,
            },
            Err(Errno::EINTR) => continue,
            Err(_) => Reaped::Childless,
        };
    }
}

/// All processes below this one that are still alive.
pub(crate) fn below() -> Vec<Process> {
    let all = procs::all().unwrap_or_default();
    procs::descendants(&all, &[getpid().as_raw()]).into_iter().filter(Process::is_alive).collect()
}

/// Sends a signal to all of them.
pub(crate) fn signal(processes: &[Process], signal: Signal) {
    for process in processes {
        // A process that ended meanwhile, or changed its user, must not stop the loop.
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// Ends and reaps everything below. Returns false if a process did not end within `patience`.
pub(crate) fn end_all(patience: Duration) -> bool {
    let deadline = clock::now_ms() + patience.as_millis() as u64;
    let mut stopped: HashSet<(i32, u64)> = HashSet::new();
    loop {
        loop {
            match reap() {
                Reaped::Child(..) => {}
                Reaped::NoneYet => break,
                Reaped::Childless => return true,
            }
        }
        if clock::now_ms() >= deadline {
            return false;
        }
        let all = below();
        let mut new = false;
        for process in &all {
            new |= stopped.insert((process.pid, process.started));
        }
        // Stop processes until no new one appears; then none can fork, and all can be killed.
        if new {
            signal(&all, Signal::SIGSTOP);
        } else {
            signal(&all, Signal::SIGKILL);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
