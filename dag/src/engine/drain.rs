//! What users want of hosts: drain, undrain, remove.
//! Deliberately absent: presence (`hosts`), and keeping a removed node out (its certificate).

use super::{Draft, Engine, state::Host};
use crate::{
    answer::Answer,
    effect::{Effect, Timer},
    fact::FactKind,
    ids::{HostName, Timestamp},
    record::Drain,
    rejection::Rejection,
};

impl Engine {
    pub(super) fn find_host(&self, name: &HostName) -> Result<&Host, Rejection> {
        self.hosts.get(name).ok_or_else(|| Rejection::UnknownHost(name.clone()))
    }

    /// A second drain with another deadline counts from its own time.
    pub(super) fn drain_host(
        &self,
        draft: &mut Draft,
        name: HostName,
        deadline_ms: Option<u64>,
    ) -> Result<Answer, Rejection> {
        let host = self.find_host(&name)?;
        if host.drain.is_some_and(|drain| drain.deadline_ms == deadline_ms) {
            return Ok(Answer::Unchanged);
        }
        self.set_drain_timer(draft, host, Drain { since: draft.now, deadline_ms });
        draft.fact(FactKind::HostDrained { host: name, deadline_ms });
        Ok(Answer::Done)
    }

    pub(super) fn undrain_host(&self, draft: &mut Draft, name: HostName) -> Result<Answer, Rejection> {
        let host = self.find_host(&name)?;
        if host.drain.is_none() {
            // The host may get no attempts because of a report that it owes.
            return Ok(if host.owes.is_empty() { Answer::Unchanged } else { Answer::Done });
        }
        draft.fact(FactKind::HostUndrained { host: name });
        Ok(Answer::Done)
    }

    pub(super) fn remove_host(&self, draft: &mut Draft, name: HostName, force: bool) -> Result<Answer, Rejection> {
        let host = self.find_host(&name)?;
        let running = host.running.len() as u32;
        if host.presence.is_present() && !force && (host.drain.is_none() || running > 0) {
            return Err(Rejection::HostInUse { host: name, running });
        }
        // A host that receives this reports the work that was done.
        for &ix in &host.running {
            if let Some((host, order)) = self.running_order(ix) {
                draft.effect(Effect::SalvageAttempt { host, order: Box::new(order) });
            }
        }
        let all: Vec<_> = host.running.iter().copied().collect();
        self.end_attempts(draft, host, &all, &format!("host {name} was removed"));
        draft.fact(FactKind::HostRemoved { host: name });
        Ok(Answer::Done)
    }

    fn set_drain_timer(&self, draft: &mut Draft, host: &Host, drain: Drain) {
        if let Some(after_ms) = drain.deadline_ms {
            let timer = Timer::Drain { host: host.name.clone(), since: drain.since };
            draft.effect(Effect::SetTimer { timer, after_ms });
        }
    }

    /// Deadlines start again in full; an empty host has nothing to stop.
    pub(super) fn resume_drains(&self, draft: &mut Draft) {
        for host in self.hosts.values().filter(|host| !host.running.is_empty()) {
            if let Some(drain) = host.drain {
                self.set_drain_timer(draft, host, drain);
            }
        }
    }

    pub(super) fn drain_due(&self, draft: &mut Draft, name: &HostName, since: Timestamp) -> Answer {
        let host = self.hosts.get(name).filter(|host| host.drain.is_some_and(|drain| drain.since == since));
        let running = host.into_iter().flat_map(|host| &host.running).filter_map(|&ix| self.at(ix).running());
        for run in running.filter(|run| !run.stopping) {
            draft.effect(Effect::StopAttempt { host: name.clone(), attempt: run.attempt.clone() });
            draft.fact(FactKind::AttemptStopping { attempt: run.attempt.clone() });
        }
        if draft.facts.is_empty() { Answer::Unchanged } else { Answer::Done }
    }
}
