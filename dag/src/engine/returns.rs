//! Uncharged returns: how each counts towards the caps on returns in a row, and the task's next position.
//!
//! A return counts for [`Engine::alone`] units of [`Config::returns_cap`] if the task itself may have caused it, so
//! that [`Config::uncharged_cap`] of these reach the cap. It counts for one unit if the failure of a host, or of its
//! container engine, caused it to several attempts at once, or while hosts also fail without this task. A task that is
//! alone in each of its losses may be what makes hosts fail. A task that always makes them fail together with other
//! tasks is found by the longer row.
//! Deliberately absent: charged ends (`attempts`).
//!
//! [`Config::returns_cap`]: super::Config::returns_cap
//! [`Config::uncharged_cap`]: super::Config::uncharged_cap

use std::collections::BTreeSet;

use super::{
    Draft, Engine,
    compose::head,
    state::{Host, TaskIx},
};
use crate::{
    attempt::Outcome,
    fact::Place,
    ids::{HostName, Timestamp},
    record::{BlockedReason, Status},
};

/// The failure of a host, or of its container engine: the host fell silent, or reported that none of its slots can be
/// used. In memory only: after a restart of the Taskmaster a return counts as one that the task may have caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// When it began.
    pub(crate) began: Timestamp,
    /// When the host recovered; `None`: not yet.
    pub(crate) over: Option<Timestamp>,
    /// The attempts that ran on it then.
    pub(crate) tasks: BTreeSet<TaskIx>,
    /// Whether the Taskmaster was running. If it was suspended itself, the silence proves nothing about the host.
    pub(crate) was_seen: bool,
}

/// What may have caused a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The task, as far as is known.
    Alone,
    /// Something that affected other attempts too.
    Shared,
}

/// Whether there is a back-off before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Yes,
    No,
}

impl Engine {
    /// Units of the cap for a return that the task may have caused.
    fn alone(&self) -> u32 {
        (self.config.returns_cap / self.config.uncharged_cap.max(1)).max(1)
    }

    /// A return that is not the task's fault: back, after a back-off if there is one, or BLOCKED after too many in a
    /// row.
    pub(super) fn send_back(
        &self,
        draft: &mut Draft,
        (ix, back): (TaskIx, Status),
        said: &str,
        (cause, wait): (Cause, Wait),
    ) {
        let task = self.at(ix);
        let unit = self.alone();
        let uncharged = task.uncharged.saturating_add(if cause == Cause::Alone { unit } else { 1 });
        let place = Place { uncharged, ..self.place(task, back) };
        if uncharged < self.config.returns_cap {
            let returns = uncharged / unit + uncharged % unit;
            let backoff_ms = (wait == Wait::Yes).then(|| self.config.uncharged_backoff.after(returns));
            self.go(draft, ix, Place { backoff_ms, ..place });
            return self.set_backoff(draft, ix, backoff_ms);
        }
        let why = format!("too many attempts in a row ended for reasons outside the task; last: {said}");
        let blocked = Some((BlockedReason::NeedsHuman, head(&why, self.config.reason_bytes).into()));
        self.go(draft, ix, Place { status: Status::Blocked, blocked, ..place });
    }

    /// What may have caused the report of the host of its newest attempt.
    pub(super) fn cause_of(&self, now: Timestamp, host: &HostName, ix: TaskIx, outcome: &Outcome) -> Cause {
        match self.hosts.get(host) {
            Some(host) if matches!(outcome, Outcome::Infrastructure(_)) && self.is_taken(now, host, ix) => {
                self.lost_with(now, host, ix)
            }
            _ => Cause::Alone,
        }
    }

    /// Whether the attempt ran when its host, or the host's engine, last failed, and whether that was recent.
    fn is_taken(&self, now: Timestamp, host: &Host, ix: TaskIx) -> bool {
        let started = self.at(ix).history.last().map_or(now, |run| run.started_at);
        host.end.as_ref().is_some_and(|end| {
            let is_over = end.over.is_some_and(|over| now.0 > over.0.saturating_add(self.config.aftermath_ms));
            end.tasks.contains(&ix) && started <= end.began && !is_over
        })
    }

    /// What may have caused the loss of an attempt together with its host.
    pub(super) fn lost_with(&self, now: Timestamp, host: &Host, ix: TaskIx) -> Cause {
        let others = match &host.end {
            Some(end) if end.over.is_none() || self.is_taken(now, host, ix) => end.tasks.len(),
            _ => host.running.len(),
        };
        let elsewhere = |other: &Host| {
            other.name != host.name
                && other.end.as_ref().is_some_and(|end| {
                    end.was_seen
                        && !end.tasks.contains(&ix)
                        && now.0 <= end.began.0.saturating_add(self.config.storm_ms)
                })
        };
        if others > 1 || self.hosts.values().any(elsewhere) { Cause::Shared } else { Cause::Alone }
    }
}

impl Host {
    /// The host fell silent, or can run nothing any more. One failure at a time: consequences are not further failures.
    pub(crate) fn ends(&mut self, at: Timestamp, was_seen: bool) {
        if self.end.as_ref().is_none_or(|end| end.over.is_some()) {
            self.end = Some(Box::new(End { began: at, over: None, tasks: self.running.clone(), was_seen }));
        }
    }

    /// The host is present and healthy again.
    pub(crate) fn is_back(&mut self, at: Timestamp) {
        if let Some(end) = self.end.as_mut().filter(|end| end.over.is_none()) {
            end.over = Some(at);
        }
    }
}
