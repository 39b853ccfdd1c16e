//! Ends every process below this one: children, orphans, those that called setsid or forked twice (the shim is
//! their subreaper, so all of them are below it).
//!
//! A process that forks without end is stopped first: what is stopped cannot fork, so each round leaves fewer.

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

/// How long to try. A process that the kernel holds in an uninterruptible call cannot be ended by anyone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What [`reap`] found.
pub(crate) enum Reaped {
    /// This child is over.
    Child(Pid, WaitStatus),
    /// Children exist, none is over.
    NoneYet,
    /// There is no child, so no descendant either.
    Childless,
}

/// Takes the status of one child that is over, if there is one.
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

/// All processes below this one that can still do something.
pub(crate) fn below() -> Vec<Process> {
    let all = procs::all().unwrap_or_default();
    procs::descendants(&all, &[getpid().as_raw()]).into_iter().filter(Process::is_alive).collect()
}

/// Sends a signal to all of them.
pub(crate) fn signal(processes: &[Process], signal: Signal) {
    for process in processes {
        // A process that is over since, or changed its user, is no reason to leave the others.
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// Ends everything below, and reaps it. False: something would not go within `patience`.
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
        // Stop until nothing new appears; then none of them can fork, and all can be killed at leisure.
        if new {
            signal(&all, Signal::SIGSTOP);
        } else {
            signal(&all, Signal::SIGKILL);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
