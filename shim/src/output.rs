//! The log: the agent's output, redacted before it reaches the disk, bounded, and never a reason for the agent to wait.
//! The head is written as it arrives (somebody may follow it). After the head only the newest part is kept, in memory,
//! and written at the end. A flood of output therefore costs a read and a copy, and no disk.
//!
//! Deliberately absent: which stream a byte came from. The order is what matters.

use std::{fs::File, io::Write};

use devstack_shim::redact::Redactor;

use crate::tee::Tee;

/// Bytes read at once: the size of a pipe.
const BUFFER: usize = 64 << 10;

/// The destination of the output.
pub(crate) struct Output {
    file: File,
    /// The copy for the reader of the container's output.
    tee: Tee,
    redactor: Redactor,
    buffer: Vec<u8>,
    /// Bytes that still fit into the head.
    head_left: u64,
    /// Bytes read for the head but not written yet: they may be the start of a secret.
    pending: Vec<u8>,
    /// Raw bytes, newest last; at most twice `tail_max` long.
    tail: Vec<u8>,
    tail_max: usize,
    seen: u64,
    left_out: u64,
}

impl Output {
    /// A log of at most `max` bytes: three quarters for the head, one for the newest.
    pub(crate) fn new(file: File, max: u64, secrets: &[(String, String)], tee: Tee) -> Self {
        let redactor = Redactor::new(secrets.iter().map(|(_, value)| value.as_str()));
        let tail_max = (max / 4) as usize + redactor.longest();
        let head_left = max - max / 4;
        Self {
            file,
            tee,
            redactor,
            buffer: Vec::new(),
            head_left,
            pending: Vec::new(),
            tail: Vec::new(),
            tail_max,
            seen: 0,
            left_out: 0,
        }
    }

    /// The buffer to read into.
    pub(crate) fn buffer(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            // The kernel zeroes pages on first use: an agent without output costs nothing.
            self.buffer = vec![0; BUFFER];
        }
        &mut self.buffer
    }

    /// The first `count` bytes of the buffer are output.
    pub(crate) fn took(&mut self, count: usize) {
        self.seen += count as u64;
        if self.head_left == 0 {
            self.keep_newest(count);
            return;
        }
        let Some(new) = self.buffer.get(..count) else { return };
        self.pending.extend_from_slice(new);
        let room = usize::try_from(self.head_left).unwrap_or(usize::MAX).min(self.pending.len());
        let full = self.pending.len() as u64 >= self.head_left;
        let head = self.pending.get(..room).unwrap_or_default();
        let ready = self.redactor.settled(head);
        let text = self.redactor.redact(head.get(..ready).unwrap_or_default(), 0);
        self.head_left = if full { 0 } else { self.head_left - ready as u64 };
        // A full disk must not end the agent; missing bytes are counted.
        if self.file.write_all(&text).is_err() {
            self.left_out += ready as u64;
        }
        self.tee.put(&text);
        self.pending.drain(..ready);
        if self.head_left == 0 {
            self.tail = std::mem::take(&mut self.pending);
        }
    }

    fn keep_newest(&mut self, count: usize) {
        self.tail.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        if self.tail.len() > self.tail_max * 2 {
            let old = self.tail.len() - self.tail_max;
            self.tail.drain(..old);
            self.left_out += old as u64;
        }
    }

    /// Writes all withheld bytes. There is no more output.
    pub(crate) fn finish(&mut self) {
        let held = if self.head_left > 0 { &mut self.pending } else { &mut self.tail };
        let held = std::mem::take(held);
        // If bytes before it were left out, it may begin with the end of a secret: skip that much.
        let mut from = 0;
        if self.left_out > 0 || held.len() > self.tail_max {
            from = held.len().saturating_sub(self.tail_max) + self.redactor.longest().saturating_sub(1);
            let from = from.min(held.len());
            let line = format!("\n[devstack: {} bytes left out]\n", self.left_out + from as u64);
            self.left_out += from as u64;
            let _ = self.file.write_all(line.as_bytes());
            self.tee.put(line.as_bytes());
        }
        let text = self.redactor.redact(&held, from.min(held.len()));
        if self.file.write_all(&text).is_err() {
            self.left_out += text.len() as u64;
        }
        self.tee.finish(&text);
    }

    /// The copy of the log that is still to be written.
    pub(crate) fn tee(&mut self) -> &mut Tee {
        &mut self.tee
    }

    /// Bytes of output so far.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Bytes of output that are not in the log.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    fn log(max: u64, secret: &str, chunks: &[&[u8]]) -> (String, u64) {
        let mut file = tempfile::tempfile().unwrap();
        let secrets = [("S".to_owned(), secret.to_owned())];
        let mut output = Output::new(file.try_clone().unwrap(), max, &secrets, Tee::none());
        for chunk in chunks {
            output.buffer()[..chunk.len()].copy_from_slice(chunk);
            output.took(chunk.len());
        }
        output.finish();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        (text, output.left_out())
    }

    #[test]
    fn a_secret_split_over_reads_never_reaches_the_file() {
        for cut in 0..8 {
            let (a, b) = "hunter22".split_at(cut);
            let (text, _) = log(1000, "hunter22", &[b"key=", a.as_bytes(), b.as_bytes(), b" end"]);
            assert_eq!(text, "key=*** end");
        }
    }

    #[test]
    fn a_prefix_that_was_no_secret_is_written() {
        assert_eq!(log(1000, "hunter22", &[b"a hunt", b"er for", b" hun"]).0, "a hunter for hun");
    }

    #[test]
    fn the_head_and_the_newest_are_kept() {
        let lines: Vec<String> = (0..2000).map(|n| format!("{n:06}\n")).collect();
        let chunks: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let (text, left_out) = log(700, "", &chunks);
        assert!(text.starts_with("000000\n000001\n"), "{text}");
        assert!(text.ends_with("001998\n001999\n"), "{text}");
        assert!(text.contains(&format!("[devstack: {left_out} bytes left out]")), "{text}");
        assert!(text.len() <= 700 + 60, "{}", text.len());
        let marker = text.find("\n[devstack").unwrap();
        let end = text[marker + 1..].find('\n').unwrap() + marker + 2;
        assert_eq!(14000, marker as u64 + left_out + (text.len() - end) as u64);
    }

    #[test]
    fn what_remains_of_a_secret_at_the_cut_is_not_written() {
        // Every alignment of the cut: the newest part never starts with the end of a secret.
        for pad in 0..40 {
            let flood = format!("{}{}", "x".repeat(300 + pad), "0123456789ABCDEFGHIJ".repeat(40));
            let (text, _) = log(80, "0123456789ABCDEFGHIJ", &[flood.as_bytes()]);
            assert!(!text.contains("GHIJ"), "{text}");
        }
    }

    #[test]
    fn all_is_kept_below_the_limit() {
        let (text, left_out) = log(100, "", &[&[b'a'; 60], &[b'b'; 40]]);
        assert_eq!((text.len(), left_out), (100, 0));
    }
}
