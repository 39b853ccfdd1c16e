//! How long the engine waits for the attempts of a silent host, and which attempts it gives up when.
//! Deliberately absent: the clock. The shell says how long a host has been silent, and asks here when to say so next.

use super::{
    Draft, Engine,
    returns::Wait,
    state::{Host, Task, TaskIx},
};
use crate::{
    answer::Answer,
    attempt::{Outcome, Stage},
    fact::FactKind,
    ids::HostName,
    plan::RoleSpec,
    presence::Presence,
    record::Status,
};

impl Engine {
    /// How long an attempt on a silent host is waited for, in milliseconds; `None`: as long as its host.
    pub(super) fn waited_for(&self, task: &Task, role: &RoleSpec) -> Option<u64> {
        let is_long = task.spec.timeout_ms > self.config.long_timeout_ms;
        // Never shorter than the general limit.
        let long = || is_long.then_some(self.config.long_disconnect_ms.max(self.config.max_disconnect_ms));
        role.max_disconnect_ms.or_else(long)
    }

    fn waited_for_running(&self, ix: TaskIx) -> u64 {
        let task = self.at(ix);
        let class = task.running().and_then(|run| self.project_of(task).classes.get(&run.role));
        let own = class.and_then(|&class| self.waited_for(task, &self.classes[class as usize].spec));
        own.unwrap_or(self.config.max_disconnect_ms)
    }

    /// The total silence, in milliseconds, after which something of a host that has been silent for `silent_ms` is
    /// given up next; `None`: nothing is left to give up.
    pub fn patience(&self, host: &HostName, silent_ms: u64) -> Option<u64> {
        let host = self.hosts.get(host).filter(|host| !matches!(host.presence, Presence::Lost { .. }))?;
        let attempts = host.running.iter().map(|&ix| self.waited_for_running(ix));
        attempts.chain([self.config.max_disconnect_ms]).filter(|&ms| ms > silent_ms).min()
    }

    pub(super) fn lose_host(&self, draft: &mut Draft, name: HostName, silent_ms: u64) -> Answer {
        let Some(host) = self.hosts.get(&name) else { return Answer::Unchanged };
        if matches!(host.presence, Presence::Lost { .. }) {
            return Answer::Unchanged;
        }
        let is_due = |ix: &TaskIx| self.waited_for_running(*ix) <= silent_ms;
        let due: Vec<TaskIx> = host.running.iter().copied().filter(is_due).collect();
        self.end_attempts(draft, host, &due, &format!("host {name} was lost"));
        if due.len() == host.running.len() && silent_ms >= self.config.max_disconnect_ms {
            draft.fact(FactKind::HostLost { host: name });
        }
        if draft.facts.is_empty() { Answer::Unchanged } else { Answer::Done }
    }

    /// Nothing more is expected from these attempts: they end uncharged. They start elsewhere at once, without a
    /// back-off, because the wait for the host was long enough. The caps on returns in a row bound them like others.
    pub(super) fn end_attempts(&self, draft: &mut Draft, host: &Host, attempts: &[TaskIx], why: &str) {
        for &ix in attempts {
            let task = self.at(ix);
            let Some(run) = task.running() else { continue };
            draft.fact(FactKind::AttemptEnded {
                attempt: run.attempt.clone(),
                outcome: Outcome::Infrastructure(why.to_owned()),
                charged: false,
                commit: None,
                usage: None,
            });
            let back = if run.stage == Stage::Work { Status::Todo } else { Status::Testing };
            let cause = self.lost_with(draft.now, host, ix);
            self.send_back(draft, (ix, back), why, (cause, Wait::No));
        }
    }
}
