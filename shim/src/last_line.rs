//! Detects the agent's last line and then gives the agent a grace period to exit: some command line tools report that
//! they are done and then hang. Any later output starts the grace period again. Deliberately absent: which line is the
//! last (the spec says it) and ending the agent (`watch` does it).

use devstack_shim::{spec::Spec, tool::Last};

/// A line longer than this, in bytes, is not the last line: the last line contains the final answer of a model.
const LINE_MAX: usize = 4 << 20;

/// Splits the output into lines.
pub(crate) struct LastLine<'s> {
    rule: Option<&'s Last>,
    line: Vec<u8>,
    too_long: bool,
    seen: Option<Seen>,
}

struct Seen {
    status: i32,
    until: u64,
}

impl<'s> LastLine<'s> {
    pub(crate) fn new(spec: &'s Spec) -> Self {
        let rule = spec.tool.as_ref().and_then(|tool| tool.last.as_ref());
        Self { rule, line: Vec::new(), too_long: false, seen: None }
    }

    /// More output arrived at this time.
    pub(crate) fn see(&mut self, bytes: &[u8], now: u64) {
        let Some(rule) = self.rule else { return };
        if let Some(seen) = &mut self.seen {
            seen.until = now.saturating_add(rule.grace_ms);
        }
        let mut lines = bytes.split(|&byte| byte == b'\n');
        // The text after the last line break is not a complete line yet.
        let rest = lines.next_back().unwrap_or_default();
        for part in lines {
            self.extend(part);
            let status = if self.too_long { None } else { rule.status(&self.line) };
            if let Some(status) = status {
                self.seen = Some(Seen { status, until: now.saturating_add(rule.grace_ms) });
            }
            self.line.clear();
            self.too_long = false;
        }
        self.extend(rest);
    }

    fn extend(&mut self, part: &[u8]) {
        self.too_long |= self.line.len() + part.len() > LINE_MAX;
        if self.too_long {
            self.line.clear();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    /// When to check again.
    pub(crate) fn due(&self) -> u64 {
        self.seen.as_ref().map_or(u64::MAX, |seen| seen.until)
    }

    /// The agent reported that it is done, and did not exit in time: returns the status that it reported. A deadline
    /// ends the grace period.
    pub(crate) fn over(&self, now: u64, deadline: u64) -> Option<i32> {
        self.seen.as_ref().filter(|seen| now >= seen.until.min(deadline)).map(|seen| seen.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Last {
        Last { when: vec![("type".into(), vec!["result".into()])], error: Vec::new(), grace_ms: 10 }
    }

    fn after(chunks: &[&[u8]]) -> Option<u64> {
        let rule = rule();
        let mut last = LastLine { rule: Some(&rule), line: Vec::new(), too_long: false, seen: None };
        chunks.iter().enumerate().for_each(|(now, chunk)| last.see(chunk, now as u64));
        (last.due() != u64::MAX).then(|| last.due())
    }

    #[test]
    fn a_line_is_seen_however_it_is_cut() {
        let line = b"{\"type\":\"init\"}\n{\"type\":\"result\"}\n";
        for cut in 0..line.len() {
            let (a, b) = line.split_at(cut);
            assert_eq!(after(&[a, b]), Some(11), "{cut}");
        }
        assert_eq!(after(&[b"{\"type\":\"result\"}"]), None, "not a line yet");
    }

    #[test]
    fn more_output_starts_the_grace_again() {
        assert_eq!(after(&[b"{\"type\":\"result\"}\n", b"", b"bye"]), Some(12));
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_hides_nothing() {
        let long = vec![b'{'; LINE_MAX + 1];
        assert_eq!(after(&[&long, b"\n{\"type\":\"result\"}\n"]), Some(11));
    }
}
