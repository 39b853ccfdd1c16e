//! Ends what is left of an attempt whose shim did not end by itself. Without the shim there is no one parent of it
//! all, so its processes are known by any of: descent from the shim; the attempt's key in their environment; a working
//! directory in the attempt's; or being an orphan that fell to the node from the shim's session or as the agents' user
//! with no attempt's key.
//!
//! Known limit: without a sandbox, an agent that kills its shim *and* leaves session, environment and directory
//! behind while the node is down or not root is no longer told apart from a person's process, and left alone.

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
use crate::runtime::identity;

/// How long to try: a process in an uninterruptible call of the kernel cannot be ended by anyone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at what was killed and is not gone.
const PAUSE: Duration = Duration::from_millis(2);

/// What the processes of one attempt have in common.
struct Marks<'a> {
    /// `DEVSTACK_ATTEMPT_KEY=<key>`, as in an environment.
    variable: Vec<u8>,
    /// `DEVSTACK_ATTEMPT_KEY=<installation>/`: any attempt of ours.
    any: Vec<u8>,
    dir: &'a Path,
    /// The shim, as long as it lives.
    shim: Option<i32>,
    /// The shim's session, also after its death.
    session: Option<i32>,
    /// The agents' own user, where they have one.
    user: Option<u32>,
    node: i32,
}

/// Ends it all. What cannot be ended is logged, and looked for again by the next caller.
pub(super) fn end(inner: &Inner, attempt: &AttemptId, dir: &Path) {
    let child = inner.children().get(attempt).and_then(Option::as_ref).map(|child| child.id() as i32);
    // What our own child is, nobody has to tell. A record may be the agent's: it names nobody but what was started as a shim of
    // this attempt, and the session of one that is over only where it is not that of the node or of another attempt.
    let recorded = identity::read(dir).ok().flatten().filter(|identity| identity.is_of(&inner.boot_id));
    let session =
        child.or(recorded.map(|identity| identity.pid)).filter(|session| inner.may_be_session(attempt, *session));
    let marks = Marks {
        variable: format!("{}={}", layout::KEY_VARIABLE, inner.key(attempt)).into_bytes(),
        any: format!("{}={}/", layout::KEY_VARIABLE, inner.config.installation).into_bytes(),
        dir,
        // One of ours that is over may have been reaped, and its id be another's.
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
        // Stopped until no new one appears: what is stopped cannot fork. Then killed.
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
            tracing::error!(%attempt, ?pids, "processes of an attempt cannot be ended");
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

/// Signals the process that was looked at, and none that got its id since: its start time is read again through a descriptor
/// that stays with it.
pub(super) fn signal(process: &Process, signal: Signal) {
    let Some(pid) = rustix::process::Pid::from_raw(process.pid) else { return };
    // One that is over since, or not ours to signal, is no reason to leave the others.
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if procs::get(process.pid).is_some_and(|now| now.started == process.started) {
        let _ = pidfd_send_signal(&descriptor, signal);
    }
}

impl Inner {
    /// Can it be the session of this attempt's shim? Not the node's own, nor one that another attempt's shim leads.
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
        // Its leader is the shim, or whoever a record names in its place.
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
