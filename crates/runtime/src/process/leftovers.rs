//! Ends the remaining processes of an attempt whose shim did not end by itself. Without the shim they have no common
//! parent. A process is recognized by any of these: descent from the shim; the attempt's key in its environment; a
//! working directory inside the attempt's; or being an orphan that the node inherited from the shim's session, or that
//! runs as the agents' user without any attempt's key.
//!
//! Known limit: without a sandbox, an agent may kill its shim *and* leave session, environment and directory behind
//! while the node is down or not root. Such a process cannot be distinguished from a user's process, and is left alone.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use devstack_dag::ids::AttemptId;
use devstack_shim::{
    layout,
    procs::{self, Process},
};
use nix::{
    sys::wait::{WaitPidFlag, waitpid},
    unistd::{Pid, getpid},
};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Inner;
use crate::identity;

/// How long to try: nobody can end a process that is in an uninterruptible system call.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two checks for killed processes that still exist.
const PAUSE: Duration = Duration::from_millis(2);

/// The marks of one attempt's processes.
struct Marks<'a> {
    /// `DEVSTACK_ATTEMPT_KEY=<key>`, as in an environment.
    variable: Vec<u8>,
    /// `DEVSTACK_ATTEMPT_KEY=<installation>/`: any attempt of this installation.
    any: Vec<u8>,
    dir: &'a Path,
    /// The shim, while it is alive.
    shim: Option<i32>,
    /// The shim's session, also after the shim's death.
    session: Option<i32>,
    /// The agents' own user, if they have one.
    user: Option<u32>,
    node: i32,
}

/// Ends all remaining processes. Processes that cannot be ended are logged; the next caller tries again.
pub(super) fn end(inner: &Inner, attempt: &AttemptId, dir: &Path) {
    let child = inner.children().get(attempt).and_then(Option::as_ref).map(|child| child.id() as i32);
    // Our own child is known without a record. A record may be written by the agent: it is trusted only for a process
    // that was started as a shim of this attempt, and for the session of an ended process only if that is not the
    // session of the node or of another attempt.
    let recorded = identity::read(dir).ok().flatten().filter(|identity| identity.is_of(&inner.boot_id));
    let session =
        child.or(recorded.map(|identity| identity.pid)).filter(|session| inner.may_be_session(attempt, *session));
    let marks = Marks {
        variable: format!("{}={}", layout::KEY_VARIABLE, inner.key(attempt)).into_bytes(),
        any: format!("{}={}/", layout::KEY_VARIABLE, inner.config.installation).into_bytes(),
        dir,
        // A child that ended may have been reaped, and its id may be reused.
        shim: child.filter(|_| inner.is_running(attempt)).or_else(|| inner.running(dir).map(|identity| identity.pid)),
        session,
        user: inner.root.then_some(inner.config.user.uid),
        node: getpid().as_raw(),
    };
    let deadline = Instant::now() + PATIENCE;
    let mut seen = HashSet::new();
    loop {
        let members = marks.members(&procs::all().unwrap_or_default());
        let new = members.iter().filter(|process| seen.insert((process.pid, process.started))).count();
        let living: Vec<_> = members.iter().filter(|process| process.is_alive()).collect();
        // Stop processes until no new one appears (a stopped process cannot fork), then kill them.
        let deadly = new == 0 || living.is_empty();
        for process in &living {
            signal(process, if deadly { Signal::KILL } else { Signal::STOP });
        }
        for orphan in members.iter().filter(|process| process.parent == marks.node && Some(process.pid) != child) {
            let _ = waitpid(Pid::from_raw(orphan.pid), Some(WaitPidFlag::WNOHANG));
        }
        let shim_over = inner
            .children()
            .get_mut(attempt)
            .and_then(Option::as_mut)
            .is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()));
        if living.is_empty() && shim_over {
            break;
        }
        if Instant::now() >= deadline {
            let pids: Vec<i32> = living.iter().map(|process| process.pid).collect();
            tracing::error!(%attempt, ?pids, "cannot end processes of an attempt");
            break;
        }
        if deadly {
            std::thread::sleep(PAUSE);
        }
    }
    if !seen.is_empty() {
        tracing::warn!(%attempt, processes = seen.len(), "ended processes that outlived the supervisor of their attempt");
    }
}

/// Signals the process that was examined, and none that got its id since: its start time is read again through a
/// descriptor that refers to exactly this process.
pub(super) fn signal(process: &Process, signal: Signal) {
    let Some(pid) = rustix::process::Pid::from_raw(process.pid) else { return };
    // A process that ended meanwhile, or that we may not signal, must not stop the loop.
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if procs::get(process.pid).is_some_and(|now| now.started == process.started) {
        let _ = pidfd_send_signal(&descriptor, signal);
    }
}

impl Inner {
    /// Whether it can be the session of this attempt's shim: not the node's own session, nor one that another attempt's
    /// shim leads.
    fn may_be_session(&self, attempt: &AttemptId, session: i32) -> bool {
        let other = |(other, child): (&AttemptId, &Option<Child>)| {
            other != attempt && child.as_ref().is_some_and(|child| i64::from(child.id()) == i64::from(session))
        };
        let own = procs::this().is_some_and(|node| node.session == session);
        session > 1 && !own && !self.children().iter().any(other)
    }
}

impl Marks<'_> {
    fn members(&self, all: &[Process]) -> Vec<Process> {
        let mut roots: HashSet<i32> = self.shim.into_iter().collect();
        roots.extend(all.iter().filter(|process| self.is_marked(process)).map(|process| process.pid));
        let of_roots: Vec<i32> = roots.iter().copied().collect();
        roots.extend(procs::descendants(all, &of_roots).iter().map(|process| process.pid));
        all.iter().filter(|process| process.pid != self.node && roots.contains(&process.pid)).copied().collect()
    }

    fn is_marked(&self, process: &Process) -> bool {
        if process.pid == self.node {
            return false;
        }
        let orphan = process.parent == self.node;
        // Its leader is the shim, or the process that a record names instead.
        if orphan && self.session == Some(process.session) && process.pid != process.session {
            return true;
        }
        let proc = Path::new("/proc").join(process.pid.to_string());
        let environment = fs::read(proc.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        if variables.any(|variable| variable == self.variable) {
            return true;
        }
        if fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.dir)) {
            return true;
        }
        let ours = |uid| fs::metadata(&proc).is_ok_and(|file| file.uid() == uid);
        let keyed = || environment.split(|&byte| byte == 0).any(|variable| variable.starts_with(&self.any));
        orphan && self.user.is_some_and(ours) && process.is_alive() && !keyed()
    }
}
