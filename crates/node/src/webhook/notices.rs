//! Computes which notices are due: everything that waits for a user now, compared with the notices already sent. Pure.
//! Deliberately absent: delivery, and the definition of waiting (the engine has it).

use std::collections::BTreeMap;

use devstack_dag::Waiting;
use serde::{Deserialize, Serialize};

/// Number of notices made at once; the rest follows when these are delivered, so that their file stays small.
const BATCH: usize = 256;

/// Sent and pending notices. Stored in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// What waited at the last check, and why, by its name.
    pub(super) waits: BTreeMap<String, String>,
    /// Made but not delivered, oldest first.
    pub(super) due: Vec<Notice>,
}

/// One notice, as sent. Stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: String,
    /// `waiting`.
    pub(super) event: String,
    pub(super) project: String,
    /// The task's id in the project; `null`: the project itself.
    pub(super) task: Option<String>,
    pub(super) status: Option<String>,
    pub(super) blocked_reason: Option<String>,
    /// What it waits for, as a sentence.
    pub(super) why: String,
    /// The command that resolves the wait.
    pub(super) command: String,
    /// When the wait was noticed.
    pub(super) at: String,
    /// The number of the last fact at that time.
    pub(super) seq: u64,
}

impl Notice {
    /// The name of the subject; a project has one name for each thing that it waits for.
    fn subject(waiting: &Waiting) -> String {
        match &waiting.task {
            Some(task) => format!("{}/{task}", waiting.project),
            None => format!("{}: {}", waiting.project, waiting.why),
        }
    }

    fn of(waiting: &Waiting, at: &str, seq: u64) -> Self {
        Self {
            api_version: "v1".to_owned(),
            event: "waiting".to_owned(),
            project: waiting.project.to_string(),
            task: waiting.task.as_ref().map(ToString::to_string),
            status: waiting.status.map(|status| status.to_string()),
            blocked_reason: waiting.reason.map(|reason| reason.to_string()),
            why: waiting.why.clone(),
            command: waiting.command.clone(),
            at: at.to_owned(),
            seq,
        }
    }

    /// The same for every try, and for no other notice: a fact number never occurs twice in an installation.
    pub(super) fn key(&self, installation: &str) -> String {
        // What a project waits for is a sentence: too long and too irregular for a header.
        let subject = match &self.task {
            Some(task) => task.clone(),
            None => blake3::hash(self.why.as_bytes()).to_hex()[..16].to_owned(),
        };
        format!("{installation}/{}/{}/{subject}", self.seq, self.project)
    }
}

/// Why something waits; when it changes, a new notice is sent. A task that was retried and failed again did so at
/// another time.
pub(super) type Mark = String;

impl Told {
    /// Takes in what waits now, each with its mark. Returns whether anything is new.
    pub(super) fn look(&mut self, waiting: &[(Waiting, Mark)], at: &str, seq: u64) -> bool {
        let now: BTreeMap<String, &(Waiting, Mark)> =
            waiting.iter().map(|entry| (Notice::subject(&entry.0), entry)).collect();
        let before = self.waits.len();
        self.waits.retain(|subject, _| now.contains_key(subject));
        let mut changed = self.waits.len() != before;
        for (subject, (waiting, mark)) in now {
            if self.waits.get(&subject) == Some(mark) {
                continue;
            }
            if self.due.len() >= BATCH {
                break;
            }
            changed = true;
            self.waits.insert(subject, mark.clone());
            self.due.push(Notice::of(waiting, at, seq));
        }
        changed
    }

    /// When notices are enabled for the first time, none is sent for what already waits: users see it in `status`.
    pub(super) fn from_now_on(waiting: &[(Waiting, Mark)]) -> Self {
        let waits = waiting.iter().map(|(waiting, mark)| (Notice::subject(waiting), mark.clone())).collect();
        Self { waits, due: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use devstack_dag::record::{BlockedReason, Status};

    use super::*;

    fn waits(task: Option<&str>, why: &str, mark: &str) -> (Waiting, Mark) {
        let waiting = Waiting {
            project: "shop".parse().unwrap(),
            task: task.map(|id| id.parse().unwrap()),
            status: task.map(|_| Status::Blocked),
            reason: task.map(|_| BlockedReason::NeedsHuman),
            why: why.to_owned(),
            command: "devstack …".to_owned(),
        };
        (waiting, mark.to_owned())
    }

    fn due(told: &Told) -> Vec<(Option<&str>, u64)> {
        told.due.iter().map(|notice| (notice.task.as_deref(), notice.seq)).collect()
    }

    #[test]
    fn each_wait_is_told_once_and_again_when_it_begins_again() {
        let mut told = Told::from_now_on(&[waits(Some("old"), "x", "1")]);
        let now = [waits(Some("old"), "x", "1"), waits(Some("a"), "x", "1")];
        assert!(told.look(&now, "t", 7) && !told.look(&now, "t", 8));
        assert_eq!(due(&told), [(Some("a"), 7)]);
        // It was resolved, and waits again.
        assert!(told.look(&[], "t", 9) && told.look(&now[1..], "t", 10));
        // It was resolved and waits again between two checks.
        assert!(told.look(&[waits(Some("a"), "x", "2")], "t", 11));
        assert_eq!(due(&told), [(Some("a"), 7), (Some("a"), 10), (Some("a"), 11)]);
    }

    #[test]
    fn keys_differ_and_fit_into_a_header() {
        let mut told = Told::default();
        told.look(
            &[waits(Some("a"), "x", "1"), waits(None, "paused\r\nEvil: 1", ""), waits(None, "money", "")],
            "t",
            3,
        );
        let keys: Vec<String> = told.due.iter().map(|notice| notice.key("ab12")).collect();
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{keys:?}");
        assert!(keys.iter().all(|key| key.bytes().all(|byte| byte.is_ascii_graphic())), "{keys:?}");
        assert!(keys.contains(&"ab12/3/shop/a".to_owned()), "{keys:?}");
    }

    #[test]
    fn a_flood_is_told_in_parts_and_nothing_of_it_is_lost() {
        let flood: Vec<_> = (0..600).map(|n| waits(Some(&format!("t{n}")), "x", "1")).collect();
        let (mut told, mut seen) = (Told::default(), 0);
        while told.look(&flood, "t", 1) {
            assert!(told.due.len() <= BATCH);
            seen += told.due.drain(..).count();
        }
        assert_eq!(seen, 600);
    }
}
