//! One helper process: starts it, sends it one request at a time with a deadline, and reports how it ended.
//! Deliberately absent: what an end means for the job ([`super::pool`]).

use std::{
    io::{self, Read, Write},
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{Cancel, Program, frame};

/// How long a child may take to exit after it closed its pipe.
const END: Duration = Duration::from_secs(10);

/// A running helper that waits for a job.
pub(super) struct Process {
    child: Child,
    jobs: ChildStdin,
    answers: ChildStdout,
    /// Number of finished jobs.
    pub(super) done: u32,
}

/// Why there is no answer. In every case the child is gone.
#[derive(Debug)]
pub(super) enum End {
    /// Killed by this signal.
    Signal(i32),
    /// It exited by itself, with this code.
    Exit(i32),
    /// It did not answer in time, and was killed.
    Late,
    /// Nobody waits for the answer any more; it was killed.
    Cancelled,
    /// Its answer was invalid; it was killed.
    Nonsense(io::Error),
    /// The system failed.
    System(io::Error),
}

impl Process {
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("it has no pipes");
        let (jobs, answers) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        let process = Self { child, jobs, answers, done: 0 };
        for pipe in [process.jobs.as_fd(), process.answers.as_fd()] {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(process)
    }

    /// Whether it still waits for a job. An idle helper may have been killed meanwhile.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a frame and returns the body of the answer.
    pub(super) fn ask(
        &mut self,
        job: &[u8],
        patience: Duration,
        most: usize,
        cancel: Option<&Cancel>,
    ) -> Result<Vec<u8>, End> {
        let answered = self.exchange(job, Instant::now() + patience, most, cancel);
        self.done += 1;
        answered.map_err(|stopped| match stopped {
            Stopped::Closed => self.ended(),
            Stopped::Killed(end) => {
                self.kill();
                end
            }
        })
    }

    fn exchange(
        &mut self,
        mut job: &[u8],
        deadline: Instant,
        most: usize,
        cancel: Option<&Cancel>,
    ) -> Result<Vec<u8>, Stopped> {
        let mut answer = Vec::new();
        loop {
            let left = deadline.checked_duration_since(Instant::now()).ok_or(Stopped::Killed(End::Late))?;
            let ready = ready(&self.answers, (!job.is_empty()).then_some(&self.jobs), cancel, left)?;
            if ready.cancelled {
                return Err(Stopped::Killed(End::Cancelled));
            }
            if ready.answers && read_some(&mut self.answers, &mut answer)? {
                if let Some(body) = body(&mut answer, most)? {
                    return Ok(body);
                }
                continue;
            }
            if ready.jobs {
                match self.jobs.write(job) {
                    Ok(written) => job = &job[written..],
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Err(Stopped::Closed),
                    Err(e) if retried(&e) => {}
                    Err(e) => return Err(Stopped::Killed(End::System(e))),
                }
            }
        }
    }

    /// It closed its end of a pipe: finds out how it ended.
    fn ended(&mut self) -> End {
        let give_up = Instant::now() + END;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return match (status.signal(), status.code()) {
                        (Some(signal), _) => End::Signal(signal),
                        (None, code) => End::Exit(code.unwrap_or(-1)),
                    };
                }
                Ok(None) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) => {
                    self.kill();
                    return End::Nonsense(io::Error::other("it closed its pipe but did not exit"));
                }
                Err(error) => return End::System(error),
            }
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill(); // if it is already gone, nothing is left to do
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why an exchange stopped.
enum Stopped {
    /// The child closed a pipe, as a dead one does.
    Closed,
    /// The child must be killed.
    Killed(End),
}

struct Ready {
    answers: bool,
    jobs: bool,
    cancelled: bool,
}

/// Waits until something can be read or written, for at most `left`.
fn ready(
    answers: &ChildStdout,
    jobs: Option<&ChildStdin>,
    cancel: Option<&Cancel>,
    left: Duration,
) -> Result<Ready, Stopped> {
    let mut fds = vec![PollFd::new(answers.as_fd(), PollFlags::POLLIN)];
    fds.extend(jobs.map(|jobs| PollFd::new(jobs.as_fd(), PollFlags::POLLOUT)));
    fds.extend(cancel.map(|cancel| PollFd::new(cancel.fd(), PollFlags::POLLIN)));
    match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(Stopped::Killed(End::System(errno.into()))),
    }
    let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
    let mut next = || ready.next().unwrap_or(false);
    let answers = next();
    Ok(Ready { answers, jobs: jobs.is_some() && next(), cancelled: cancel.is_some() && next() })
}

/// Read the available bytes; returns `false` if there are none yet.
fn read_some(from: &mut ChildStdout, into: &mut Vec<u8>) -> Result<bool, Stopped> {
    let mut buffer = [0; 64 << 10];
    match from.read(&mut buffer) {
        Ok(0) => Err(Stopped::Closed),
        Ok(read) => {
            into.extend_from_slice(&buffer[..read]);
            Ok(true)
        }
        Err(e) if retried(&e) => Ok(false),
        Err(e) => Err(Stopped::Killed(End::System(e))),
    }
}

/// The body, once it is complete. No bytes may follow: each request has one answer.
fn body(answer: &mut Vec<u8>, most: usize) -> Result<Option<Vec<u8>>, Stopped> {
    let Some(head) = answer.first_chunk::<{ frame::HEAD }>() else { return Ok(None) };
    let nonsense = |error| Stopped::Killed(End::Nonsense(error));
    let length = frame::length(head).map_err(nonsense)?;
    if length > most || answer.len() > frame::HEAD + length {
        return Err(nonsense(io::Error::other(format!("its answer is longer than {most} bytes"))));
    }
    Ok((answer.len() == frame::HEAD + length).then(|| answer.split_off(frame::HEAD)))
}

fn retried(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}
