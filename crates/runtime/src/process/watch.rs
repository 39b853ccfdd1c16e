//! Waits for attempts, stops them, and enforces their deadline, whatever happens to the shim.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    time::Duration,
};

use devstack_dag::{attempt::Outcome, ids::AttemptId};
use devstack_shim::{layout, procs, spec::ALREADY_RUN};
use rustix::process::pidfd_send_signal;

use super::{Inner, leftovers};
use crate::{Ended, Harvest, RuntimeError, clock, evidence, files, identity, ready};

/// How long a sandbox may take until its shim can be signalled.
const SANDBOX_START: Duration = Duration::from_secs(10);

/// Waits until the attempt ended and nothing of it runs.
pub(super) async fn wait(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<Ended, RuntimeError> {
    let failed = |what: &str| RuntimeError::failed(format!("waiting for {attempt}: {what}"));
    if matches!(inner.children().get(attempt), Some(None)) {
        // Waits on a thread where blocking is harmless.
        let (inner, attempt) = (Arc::clone(inner), attempt.clone());
        let started = tokio::task::spawn_blocking(move || drop(inner.until_started(&attempt)));
        started.await.map_err(|error| failed("its start")(io::Error::other(error)))?;
    }
    let dir = inner.known(attempt)?;
    let mut overdue = false;
    while let Some(process) = shim_of(inner, attempt, &dir).map_err(failed("opening its process"))? {
        let due = due_in(inner, &dir).map_err(failed("reading its order"))?;
        match tokio::time::timeout(due, ready::readable(process)).await {
            Ok(waited) => waited.map_err(failed("watching its process"))?,
            Err(_) => overdue = true,
        }
        if overdue || !lost_the_claim(inner, attempt) {
            break;
        }
    }
    if !overdue && ended_by_itself(inner, attempt) {
        return Ok(ended(inner, attempt, &dir, overdue));
    }
    let (inner, attempt) = (Arc::clone(inner), attempt.clone());
    let settled = tokio::task::spawn_blocking(move || {
        if !inner.is_settled(&dir) {
            leftovers::end(&inner, &attempt, &dir);
        }
        let _ = fs::write(dir.join(files::SETTLED), b"");
        ended(&inner, &attempt, &dir, overdue)
    });
    settled.await.map_err(|error| failed("settling it")(io::Error::other(error)))
}

/// Our shim lost the claim to one that an earlier node had started: wait for that one.
fn lost_the_claim(inner: &Inner, attempt: &AttemptId) -> bool {
    let mut children = inner.children();
    let status = children.get_mut(attempt).and_then(Option::as_mut).and_then(|child| child.try_wait().ok()?);
    let lost = status.is_some_and(|status| status.code() == Some(i32::from(ALREADY_RUN)));
    if lost {
        children.remove(attempt);
    }
    lost
}

/// A shim of ours that ended by itself has first ended everything below it. Any other shim is not trusted.
fn ended_by_itself(inner: &Inner, attempt: &AttemptId) -> bool {
    let status = inner.children().get_mut(attempt).and_then(Option::as_mut).and_then(|child| child.try_wait().ok()?);
    status.is_some_and(|status| status.success())
}

/// The process to wait for; `None` if it ended, or never started and now never will.
fn shim_of(inner: &Inner, attempt: &AttemptId, dir: &Path) -> io::Result<Option<OwnedFd>> {
    // Held until the claim: nobody can begin to start it in between.
    let children = inner.until_started(attempt);
    let child = children.get(attempt).and_then(Option::as_ref).map(|child| child.id());
    if let Some(pid) = child.and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
        // Our child, not reaped yet: its pid cannot be reused.
        return match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
    if inner.spares.claim(dir)? {
        return Ok(None);
    }
    // Checked after it was opened, like its start time: it cannot be another process by then.
    identity::read(dir)?
        .map_or(Ok(None), |identity| Ok(identity.open(&inner.boot_id)?.filter(|_| identity.serves(dir))))
}

/// The time until the host ends it.
fn due_in(inner: &Inner, dir: &Path) -> io::Result<Duration> {
    let spec = evidence::order(dir)?;
    let due = spec.ordered_at_ms.saturating_add(spec.timeout_ms).saturating_add(spec.grace_ms);
    Ok(Duration::from_millis(due.saturating_sub(clock::now_ms())).saturating_add(inner.config.margin))
}

/// How it ended, from its files.
fn ended(inner: &Inner, attempt: &AttemptId, dir: &Path, overdue: bool) -> Ended {
    let record = evidence::record(dir, layout::EXIT);
    let mut ended = evidence::ended(dir, record, inner.config.bundle_max, || {
        if dir.join(layout::STOP).exists() {
            Outcome::Stopped
        } else if overdue {
            Outcome::TimedOut
        } else if identity::read(dir).ok().flatten().is_none_or(|identity| identity.pid == 0) {
            Outcome::Infrastructure("the attempt was never started: the node ended before it could".into())
        } else {
            Outcome::Infrastructure("the supervisor of the attempt (the shim) was killed".into())
        }
    });
    let charged_to_task =
        matches!(ended.outcome, Outcome::Exited(0) | Outcome::TimedOut | Outcome::Stopped | Outcome::Stalled);
    if !charged_to_task && inner.cgroups.as_ref().is_some_and(|cgroups| cgroups.ran_out_of_memory(attempt)) {
        ended.outcome = Outcome::OutOfMemory;
    }
    ended
}

/// Asks the shim to end it.
pub(super) async fn stop(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<(), RuntimeError> {
    let dir = inner.known(attempt)?;
    let failed = || RuntimeError::failed(format!("stopping {attempt}"));
    if evidence::record(&dir, layout::EXIT).is_some() {
        return Ok(());
    }
    File::create(dir.join(layout::STOP)).map_err(failed())?;
    let Some(process) = shim_of(inner, attempt, &dir).map_err(failed())? else { return Ok(()) };
    if inner.sandbox.is_err() {
        // A shim that does not listen yet dies from this; the file tells the reason.
        return match pidfd_send_signal(&process, rustix::process::Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(failed()(error.into())),
        };
    }
    // In a sandbox the shim is the first child of the process we know, which does not forward signals.
    let deadline = tokio::time::Instant::now() + SANDBOX_START;
    while inner.is_running(attempt) {
        let outer = inner.running(&dir).map_or(0, |identity| identity.pid);
        let shim = procs::all().unwrap_or_default().into_iter().find(|process| outer != 0 && process.parent == outer);
        if let Some(shim) = shim {
            leftovers::signal(&shim, rustix::process::Signal::TERM);
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(failed()(io::Error::other("its sandbox does not start")));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Harvests again with a new shim.
pub(super) async fn harvest(inner: &Arc<Inner>, attempt: &AttemptId) -> Result<Harvest, RuntimeError> {
    let dir = inner.known(attempt)?;
    let failed = |what: &str| RuntimeError::failed(format!("harvesting {attempt}: {what}"));
    if inner.is_running(attempt) {
        return Err(RuntimeError::Refused(format!("attempt {attempt} still runs: wait for it first")));
    }
    let spec = evidence::order(&dir).map_err(failed("reading its order"))?;
    if spec.git.as_ref().is_none_or(|git| !git.harvest) {
        return Ok(Harvest::default());
    }
    let mut child = tokio::process::Command::from(inner.shim("harvest", &dir, &inner.key(attempt)));
    let mut child = child.kill_on_drop(true).spawn().map_err(failed("starting the shim"))?;
    if tokio::time::timeout(inner.config.margin, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    let (inner, attempt) = (Arc::clone(inner), attempt.clone());
    let read = move || {
        leftovers::end(&inner, &attempt, &dir);
        let nothing = || Harvest { error: Some("the harvest was killed".into()), ..Harvest::default() };
        evidence::record(&dir, layout::HARVEST)
            .map_or_else(nothing, |record| evidence::harvest(&dir, &record, inner.config.bundle_max))
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| failed("reading it")(io::Error::other(error)))
}
