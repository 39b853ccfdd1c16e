//! Watches the agent until it ends: output, exit, deadline, idleness, a request to stop. One thread, one poll.
//! Deliberately absent: ending the processes that the agent left running (`ending`).

use std::{
    io::{self, ErrorKind, Read},
    os::fd::{AsFd, BorrowedFd},
};

use devstack_shim::{
    layout,
    spec::{Ending, Spec},
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        resource::{UsageWho, getrusage},
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
        wait::WaitStatus,
    },
    unistd::getpid,
};

use crate::{
    clock,
    disk::Disk,
    ending::{self, Reaped},
    last_line::LastLine,
    output::Output,
    spawn::Agent,
};

/// Number of chunks read between two checks of signals and clocks: a flood of output must not hide a deadline.
const CHUNKS: usize = 16;
/// A clock tick of `/proc`, in milliseconds.
const TICK_MS: u64 = 10;
/// Processor time below this share of an interval is an idle event loop, not work (1 in 1000).
const IDLE_SHARE: u64 = 1000;

/// Blocks the signals that [`watch`] reads, so that none is lost from here on.
pub(crate) fn signals() -> io::Result<SignalFd> {
    let set = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Why the shim ends the agent, and when SIGKILL follows.
struct Verdict {
    ending: Ending,
    kill_at: u64,
}

/// Runs until the agent ends; does not handle its other processes.
pub(crate) fn watch(spec: &Spec, agent: Agent, signals: SignalFd, output: &mut Output) -> io::Result<Ending> {
    let Agent { pid, output: mut pipe } = agent;
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut open = true;
    let started = clock::now_ms();
    let deadline = started.saturating_add(spec.timeout_ms);
    let mut idle = Idle::new(spec.idle_timeout_ms, started);
    let mut disk = Disk::new(spec, started);
    let mut last = LastLine::new(spec);
    let mut verdict: Option<Verdict> = None;
    let mut asked = spec.dir.join(layout::STOP).exists();

    let status = loop {
        let now = clock::now_ms();
        let wake = match &verdict {
            Some(verdict) => verdict.kill_at,
            None => deadline.min(idle.next_look).min(disk.next_look).min(last.due()),
        };
        let patience = if asked { 0 } else { wake.saturating_sub(now) };
        let stop =
            wait(&signals, open.then_some(&pipe), output.tee().waiting(), patience)? || std::mem::take(&mut asked);
        output.tee().flush();
        if open {
            let read = drain(&mut pipe, output, &mut last, CHUNKS)?;
            open = read.open;
            if read.bytes > 0 {
                idle.active(clock::now_ms());
            }
        }
        if let Some(status) = reap_until(pid) {
            break status;
        }
        let now = clock::now_ms();
        match &verdict {
            None => {
                let ending = if stop {
                    Ending::Stopped
                } else if let Some(status) = last.over(now, deadline) {
                    Ending::Exited(status)
                } else if now >= deadline {
                    Ending::TimedOut
                } else if idle.is_over(now) {
                    Ending::Stalled
                } else if disk.is_over(now) {
                    Ending::OutOfDisk
                } else {
                    continue;
                };
                ending::signal(&ending::below(), Signal::SIGTERM);
                verdict = Some(Verdict { ending, kill_at: now.saturating_add(spec.grace_ms) });
            }
            Some(verdict) if now >= verdict.kill_at => {
                ending::end_all(ending::PATIENCE);
                break None;
            }
            Some(_) => {}
        }
    };
    // Other processes that hold the pipe are ended before the last output is read: they end with the agent.
    ending::end_all(ending::PATIENCE);
    if open {
        drain(&mut pipe, output, &mut last, usize::MAX)?;
    }
    Ok(match (verdict, status) {
        (Some(verdict), _) => verdict.ending,
        (None, Some(WaitStatus::Exited(_, code))) => Ending::Exited(code),
        (None, Some(WaitStatus::Signaled(_, signal, _))) => Ending::Signalled(signal as i32),
        (None, _) => Ending::Exited(-1),
    })
}

/// Waits for a signal, output, the reader of the output's copy, or the clock. Returns true if somebody asked to stop.
/// In a separate pid namespace the shim obeys only senders outside of it: a sender with an id inside is the agent.
fn wait(
    signals: &SignalFd,
    pipe: Option<&std::fs::File>,
    reader: Option<BorrowedFd<'_>>,
    at_most_ms: u64,
) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    fds.extend(pipe.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    fds.extend(reader.map(|reader| PollFd::new(reader, PollFlags::POLLOUT)));
    let timeout = PollTimeout::try_from(at_most_ms.min(i32::MAX as u64)).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut stop = false;
    while let Some(signal) = signals.read_signal()? {
        stop |= signal.ssi_signo != Signal::SIGCHLD as u32 && !(getpid().as_raw() == 1 && signal.ssi_pid != 0);
    }
    Ok(stop)
}

/// Reaps children that ended; `Some` when the agent is among them. `Some(None)` is indistinguishable from a lost child.
fn reap_until(agent: nix::unistd::Pid) -> Option<Option<WaitStatus>> {
    let mut found = None;
    loop {
        match ending::reap() {
            Reaped::Child(pid, status) if pid == agent => found = Some(Some(status)),
            Reaped::Child(..) => {}
            Reaped::NoneYet => return found,
            Reaped::Childless => return Some(found.flatten()),
        }
    }
}

struct Drained {
    bytes: u64,
    open: bool,
}

fn drain(pipe: &mut std::fs::File, output: &mut Output, last: &mut LastLine<'_>, chunks: usize) -> io::Result<Drained> {
    let mut drained = Drained { bytes: 0, open: true };
    for _ in 0..chunks {
        match pipe.read(output.buffer()) {
            Ok(0) => {
                drained.open = false;
                break;
            }
            Ok(count) => {
                last.see(output.buffer().get(..count).unwrap_or_default(), clock::now_ms());
                output.took(count);
                drained.bytes += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(drained)
}

/// Detects idleness: neither output nor processor time. Checked four times per limit, and only while no output arrives.
struct Idle {
    limit: u64,
    last_active: u64,
    next_look: u64,
    cpu: u64,
}

impl Idle {
    fn new(limit: u64, now: u64) -> Self {
        Self { limit, last_active: now, next_look: now.saturating_add(limit / 4), cpu: 0 }
    }

    fn active(&mut self, now: u64) {
        self.last_active = now;
        self.next_look = now.saturating_add(self.limit / 4);
    }

    fn is_over(&mut self, now: u64) -> bool {
        if now < self.next_look {
            return false;
        }
        let (before, interval) = (self.cpu, self.limit / 4);
        self.cpu = cpu_ms();
        // It can decrease too: a process's time is lost when its parent does not wait for it.
        if self.cpu.abs_diff(before) > (interval / IDLE_SHARE).max(TICK_MS - 1) {
            self.active(now);
        }
        self.next_look = now.saturating_add(interval.max(1));
        now.saturating_sub(self.last_active) >= self.limit
    }
}

/// Processor time of everything below, alive and reaped, in milliseconds.
fn cpu_ms() -> u64 {
    let reaped = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| {
        let ms =
            |time: nix::sys::time::TimeVal| (time.tv_sec() * 1000 + i64::from(time.tv_usec() as i32) / 1000).max(0);
        (ms(usage.user_time()) + ms(usage.system_time())) as u64
    });
    reaped + ending::below().iter().map(|process| process.cpu_ticks * TICK_MS).sum::<u64>()
}
