//! Hosts that report and fall silent.
//! Deliberately absent: the attempts of a silent host (`silence`), and what users want of hosts (`drain`).

use super::{Draft, Engine, compose::head, state::Host};
use crate::{
    answer::Answer,
    attempt::Order,
    command::{HostReport, Quarantine},
    effect::Effect,
    fact::FactKind,
    ids::{AttemptId, HostName},
    offer::Offer,
    reconcile,
};

impl Engine {
    pub(super) fn report_host(&self, draft: &mut Draft, report: HostReport) -> Answer {
        let offer = Offer::from_report(&report, self.config.images_kept);
        let HostReport { host, slots, attempts, quarantine, .. } = report;
        let seen = Host { offer: Some(offer), ..Host::new(host.clone(), slots) };
        let known = self.hosts.get(&host);
        if known.is_none_or(|h| h.claimed != slots) {
            draft.fact(FactKind::HostReported { host: host.clone(), slots, secrets: Vec::new() });
        }
        let quarantine = quarantine.map(|q| Quarantine { why: head(&q.why, self.config.reason_bytes).to_owned(), ..q });
        if known.and_then(|h| h.quarantine.as_ref()) != quarantine.as_ref() {
            draft.fact(FactKind::HostQuarantined { host: host.clone(), quarantine });
        }
        if known.is_none_or(Host::is_silent) {
            draft.fact(FactKind::HostReturned { host: host.clone() });
        }
        let running = known.into_iter().flat_map(|h| &h.running);
        let believed: Vec<AttemptId> = running.filter_map(|&ix| Some(self.at(ix).running()?.attempt.clone())).collect();
        for attempt in reconcile::stale(&believed, &attempts) {
            if let Some(order) = self.left_behind(&seen, &attempt) {
                draft.effect(Effect::SalvageAttempt { host: host.clone(), order: Box::new(order) });
                continue;
            }
            draft.effect(Effect::StopAttempt { host: host.clone(), attempt: attempt.clone() });
            draft.effect(Effect::ForgetAttempt { host: host.clone(), attempt });
        }
        // Also for attempts that the host holds: the order is what adopts an attempt of an earlier process of the host.
        // A host ignores the order of an attempt that it works on.
        for attempt in believed {
            let Some(ix) = self.ix(&attempt.task) else { continue };
            if let Some(order) = self.order_on(ix, &seen) {
                let template = self.template(self.at(ix));
                draft.effect(Effect::StartAttempt { host: host.clone(), order: Box::new(order), template });
            }
        }
        // A requested stop is requested again.
        let stopping = known.into_iter().flat_map(|h| &h.running).filter_map(|&ix| self.at(ix).running());
        for run in stopping.filter(|run| run.stopping) {
            draft.effect(Effect::StopAttempt { host: host.clone(), attempt: run.attempt.clone() });
        }
        if draft.facts.is_empty() && draft.effects.is_empty() { Answer::Unchanged } else { Answer::Done }
    }

    /// The order of an attempt of this host that has ended, but whose report may not have arrived. Nothing can be saved
    /// of an attempt that is unknown, ran on another host, or whose role is gone with its plan (nobody could search its
    /// result for secrets).
    fn left_behind(&self, host: &Host, attempt: &AttemptId) -> Option<Order> {
        let task = self.at(self.ix(&attempt.task)?);
        let record = task.attempt(attempt.number).filter(|record| record.host == host.name)?;
        self.order_again(task, record, Some(host))
    }

    pub(super) fn suspect_host(&self, draft: &mut Draft, name: HostName) -> Answer {
        if !self.hosts.get(&name).is_some_and(|host| host.presence.is_present()) {
            return Answer::Unchanged;
        }
        draft.fact(FactKind::HostSuspected { host: name });
        Answer::Done
    }
}
