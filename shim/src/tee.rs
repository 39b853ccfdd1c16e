//! A second copy of the log for the reader of the container's output: the engine's log driver, at the other end of a
//! pipe. The copy is redacted and bounded like the log, and it never blocks anything. Output that the reader does not
//! take in time is left out of the copy (the log has it), and a closed pipe gets no more writes.
//!
//! Deliberately absent: which stream a byte came from, as in the log.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask},
};

use crate::clock;

/// Bytes kept for a slow reader: sixteen pipes full, and little compared with any memory limit.
const QUEUE: usize = 1 << 20;
/// Bytes written at once at the end: the size of a pipe.
const CHUNK: usize = 64 << 10;
/// How long to wait for the last output to be read, in milliseconds: a frozen engine must not keep a container alive.
const PATIENCE_MS: u64 = 2_000;

/// The other end of the pipe, while it is open.
pub(crate) struct Tee {
    out: Option<File>,
    queue: VecDeque<u8>,
    /// Bytes lost since the last successful write.
    lost: u64,
}

impl Tee {
    /// A copy without a reader.
    pub(crate) fn none() -> Self {
        Self { out: None, queue: VecDeque::new(), lost: 0 }
    }

    /// A copy to standard output, if it can be written without blocking.
    pub(crate) fn stdout() -> Self {
        let out = io::stdout().as_fd().try_clone_to_owned();
        out.and_then(|out| Self::to(File::from(out))).unwrap_or_else(|_| Self::none())
    }

    fn to(out: File) -> io::Result<Self> {
        fcntl(&out, FcntlArg::F_SETFL(OFlag::O_WRONLY | OFlag::O_NONBLOCK))?;
        // A closed pipe must be an error of the write, not the end of the shim. The agent gets its own signal mask.
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from_iter([Signal::SIGPIPE])), None)?;
        Ok(Self { out: Some(out), ..Self::none() })
    }

    /// Writes log output, or keeps it for later.
    pub(crate) fn put(&mut self, text: &[u8]) {
        if self.out.is_none() || text.is_empty() {
            return;
        }
        self.flush();
        let note = self.note();
        if self.queue.len() + note.len() + text.len() > QUEUE {
            self.lost += text.len() as u64;
            return;
        }
        self.lost = 0;
        self.queue.extend(note.as_bytes());
        self.queue.extend(text);
        self.flush();
    }

    /// Writes the last output: waits a little for the reader.
    pub(crate) fn finish(&mut self, text: &[u8]) {
        let until = clock::now_ms() + PATIENCE_MS;
        for chunk in text.chunks(CHUNK) {
            self.drain(until);
            self.put(chunk);
        }
        self.drain(until);
        if self.out.is_some() && self.lost > 0 {
            self.queue.extend(self.note().as_bytes());
            self.drain(until);
        }
    }

    /// The descriptor to wait for until more can be written; `None` if nothing is left to write.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.out.as_ref().filter(|_| !self.queue.is_empty()).map(AsFd::as_fd)
    }

    /// Writes as much as the reader takes now.
    pub(crate) fn flush(&mut self) {
        while !self.queue.is_empty()
            && let Some(out) = &mut self.out
        {
            match out.write(self.queue.as_slices().0) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => *self = Self::none(),
            }
        }
    }

    fn note(&self) -> String {
        if self.lost == 0 {
            return String::new();
        }
        format!("\n[devstack: {} bytes left out here; the log has them]\n", self.lost)
    }

    fn drain(&mut self, until: u64) {
        loop {
            self.flush();
            let left = until.saturating_sub(clock::now_ms());
            let Some(out) = self.waiting().filter(|_| left > 0) else { return };
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(out, PollFlags::POLLOUT)], timeout).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::Read;

    use nix::unistd::pipe;

    use super::*;

    fn tee() -> (File, Tee) {
        let (read, write) = pipe().unwrap();
        (File::from(read), Tee::to(File::from(write)).unwrap())
    }

    #[test]
    fn a_reader_that_is_behind_misses_what_the_queue_cannot_hold_and_is_told() {
        let (mut read, mut tee) = tee();
        let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        // More than the pipe and the queue hold: none of it blocks.
        for _ in 0..2000 {
            tee.put(&line);
        }
        assert!(tee.waiting().is_some());
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            read.read_to_string(&mut text).unwrap();
            text
        });
        tee.finish(b"last words\n");
        drop(tee);
        let text = reader.join().unwrap();
        let (before, after) = text.split_once("\n[devstack: ").unwrap();
        let (lost, rest) = after.split_once(" bytes left out here; the log has them]\n").unwrap();
        assert!(before.len() >= QUEUE - 1024, "{}", before.len());
        assert_eq!(before.len() + lost.parse::<usize>().unwrap(), 2000 * 1024);
        assert_eq!(rest, "last words\n");
    }

    #[test]
    fn a_reader_that_is_gone_is_forgotten() {
        let (read, mut tee) = tee();
        drop(read);
        tee.put(b"a");
        assert!(tee.out.is_none() && tee.waiting().is_none());
        tee.put(b"b");
        tee.finish(b"c");
    }

    #[test]
    fn a_reader_that_never_reads_does_not_keep_the_end() {
        let (_read, mut tee) = tee();
        let before = clock::now_ms();
        tee.finish(&vec![b'x'; 3 << 20]);
        assert!(tee.lost > 0 && clock::now_ms() - before < 10 * PATIENCE_MS);
    }
}
