//! The Taskmaster's own deadline for every attempt: its timeout, its grace, and a slack for its workspace and its
//! result. A host that is alive and never reports how an attempt ended would otherwise hold the task for ever. Such an
//! attempt is lost, uncharged, and its host gets no others until it reports how that attempt ended, reports that it no
//! longer has it, or a user runs `host undrain`.
//!
//! What a host owes is in memory only, like its presence: a restart gives every attempt its whole time again.
//! Deliberately absent: silent hosts (their leases end their attempts), and the timeout itself (the shim enforces it).

use super::{
    Draft, Engine,
    returns::{Cause, Wait},
    state::{Host, Task},
};
use crate::{
    answer::Answer,
    attempt::{Outcome, Stage},
    command::Command,
    effect::{Effect, Timer},
    fact::{Fact, FactKind},
    ids::{AttemptId, HostName},
    record::Status,
};

/// What a command means for the reports that a host owes.
#[derive(Debug)]
pub(super) enum Owing {
    /// Nothing.
    Same,
    /// The deadline of this attempt has passed.
    Late(AttemptId),
    /// A host holds these attempts, and no others.
    Holds(HostName, Vec<AttemptId>),
    /// A host reports how this attempt ended.
    Ended(HostName, AttemptId),
    /// A user allows the host to get others.
    Forgiven(HostName),
}

impl Owing {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::TimerFired(Timer::Deadline(attempt)) => Self::Late(attempt.clone()),
            Command::ReportHost(report) | Command::ReportMember { report, .. } => {
                Self::Holds(report.host.clone(), report.attempts.clone())
            }
            Command::FinishAttempt { host, report } => Self::Ended(host.clone(), report.attempt.clone()),
            Command::UndrainHost(host) => Self::Forgiven(host.clone()),
            _ => Self::Same,
        }
    }
}

impl Engine {
    /// Starts the deadline of an attempt.
    pub(super) fn set_deadline(&self, draft: &mut Draft, task: &Task, attempt: AttemptId) {
        let (timeout, grace) = (task.spec.timeout_ms, task.spec.grace_ms);
        let after_ms = timeout.saturating_add(grace).saturating_add(self.config.attempt_slack_ms);
        draft.effect(Effect::SetTimer { timer: Timer::Deadline(attempt), after_ms });
    }

    pub(super) fn deadline_due(&self, draft: &mut Draft, attempt: AttemptId) -> Answer {
        let Some(ix) = self.ix(&attempt.task) else { return Answer::Unchanged };
        let task = self.at(ix);
        let Some(run) = task.running().filter(|run| run.attempt == attempt) else { return Answer::Unchanged };
        let name = run.host.clone();
        if self.hosts.get(&name).is_none_or(Host::is_silent) {
            // Its lease decides what happens to the attempt. If the host returns, it has some time to report.
            let after_ms = self.config.attempt_slack_ms;
            draft.effect(Effect::SetTimer { timer: Timer::Deadline(attempt), after_ms });
            return Answer::Unchanged;
        }
        if let Some((host, order)) = self.running_order(ix) {
            // Its work is not lost.
            draft.effect(Effect::SalvageAttempt { host, order: Box::new(order) });
        }
        let slack = self.config.attempt_slack_ms / 1000;
        let why = format!("host {name} neither ended it in its time nor said why, {slack} s beyond that");
        draft.fact(FactKind::AttemptEnded {
            attempt,
            outcome: Outcome::Infrastructure(why.clone()),
            charged: false,
            commit: None,
            usage: None,
        });
        let back = if run.stage == Stage::Work { Status::Todo } else { Status::Testing };
        self.send_back(draft, (ix, back), &why, (Cause::Alone, Wait::No));
        Answer::Done
    }

    /// Notes what a host owes after a command that led to these facts. No fact, like the host's offer.
    pub(super) fn note_owing(&mut self, owing: Owing, facts: &[Fact]) {
        match owing {
            Owing::Same => {}
            Owing::Late(attempt) => {
                let is_lost = |fact: &Fact| matches!(&fact.kind, FactKind::AttemptEnded { attempt: ended, .. } if *ended == attempt);
                let host = self.attempts(&attempt.task).iter().find(|known| known.attempt == attempt);
                if let Some(host) = host.map(|known| known.host.clone()).filter(|_| facts.iter().any(is_lost)) {
                    self.change_host(&host, |host| _ = host.owes.insert(attempt));
                }
            }
            Owing::Holds(host, held) => self.change_owed(&host, |owed| held.contains(owed)),
            Owing::Ended(host, ended) => self.change_owed(&host, |owed| *owed != ended),
            Owing::Forgiven(host) => self.change_owed(&host, |_| false),
        }
    }

    fn change_owed(&mut self, host: &HostName, still: impl Fn(&AttemptId) -> bool) {
        if self.hosts.get(host).is_some_and(|host| !host.owes.is_empty()) {
            self.change_host(host, |host| host.owes.retain(still));
        }
    }
}
