//! A second copy of the log, for whoever keeps the container's output: the engine's log driver, at the other end of a pipe. It is
//! redacted and bounded like the log, and it never makes anybody wait: what the other end does not take in time is left out here
//! (the log has it), and one that is gone is written to no more.
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

/// Kept for a reader that is behind, in bytes: sixteen pipes full, and little of any memory limit.
const QUEUE: usize = 1 << 20;
/// Handed over at once at the end, in bytes: the size of a pipe.
const CHUNK: usize = 64 << 10;
/// For the last words, in milliseconds: an engine that is frozen must not keep a container.
const PATIENCE_MS: u64 = 2_000;

/// The other end, while there is one.
pub(crate) struct Tee {
    out: Option<File>,
    queue: VecDeque<u8>,
    /// Bytes that were not taken in time, since the last that were.
    lost: u64,
}

impl Tee {
    /// To nobody.
    pub(crate) fn none() -> Self {
        Self { out: None, queue: VecDeque::new(), lost: 0 }
    }

    /// To standard output, if it can be written to without waiting.
    pub(crate) fn stdout() -> Self {
        let out = io::stdout().as_fd().try_clone_to_owned();
        out.and_then(|out| Self::to(File::from(out))).unwrap_or_else(|_| Self::none())
    }

    fn to(out: File) -> io::Result<Self> {
        fcntl(&out, FcntlArg::F_SETFL(OFlag::O_WRONLY | OFlag::O_NONBLOCK))?;
        // A reader that is gone is an error of the write, not the end of the shim. The agent gets a mask of its own.
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from_iter([Signal::SIGPIPE])), None)?;
        Ok(Self { out: Some(out), ..Self::none() })
    }

    /// Hands over, or keeps for later, what the log got.
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

    /// The same for the last words: waits a little for the other end.
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

    /// What to wait for until more can be handed over; `None`: there is nothing to hand over.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.out.as_ref().filter(|_| !self.queue.is_empty()).map(AsFd::as_fd)
    }

    /// Hands over what the other end takes now.
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
        // The pipe and the queue, and then some: none of it waits.
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
