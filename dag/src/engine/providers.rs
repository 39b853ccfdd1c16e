//! Providers of models that refuse requests for now: parked until the time that they name, else for a back-off. No
//! attempt of any role that uses a parked provider starts. Refused attempts are not charged.
//! Deliberately absent: how an agent's output shows a refusal (the host reads it).

use super::{
    Draft, Engine,
    compose::head,
    returns::{Cause, Wait},
    state::{ClassIx, Project, Task, TaskIx},
    touched::Touched,
};
use crate::{
    answer::Answer,
    effect::{Effect, Timer},
    fact::{FactKind, Place},
    ids::{RoleName, Timestamp},
    record::{BlockedReason, ProviderRecord, Status},
};

impl Engine {
    /// The provider of a role in a task's project.
    fn provider_of(&self, task: &Task, role: &RoleName) -> Option<&str> {
        let class = *self.project_of(task).classes.get(role)?;
        self.classes[class as usize].provider()
    }

    /// A provider refused an attempt: the provider is parked, and the task waits only for that. A cap of its own bounds
    /// the spending of an agent that merely claims to be refused.
    pub(super) fn limit(&self, draft: &mut Draft, ix: TaskIx, role: &RoleName, reset: Option<Timestamp>, said: &str) {
        let task = self.at(ix);
        let Some(provider) = self.provider_of(task, role) else {
            return self.send_back(draft, (ix, Status::Todo), said, (Cause::Alone, Wait::Yes));
        };
        self.park(draft, provider, reset, said);
        let limited = task.limited + 1;
        let place = Place { limited, ..self.place(task, Status::Todo) };
        if limited < self.config.limited_cap {
            return self.go(draft, ix, place);
        }
        let why = format!("the model provider refused {limited} attempts in a row; last: {said}");
        let blocked = Some((BlockedReason::NeedsHuman, head(&why, self.config.reason_bytes).into()));
        self.go(draft, ix, Place { status: Status::Blocked, blocked, ..place });
    }

    fn park(&self, draft: &mut Draft, provider: &str, reset: Option<Timestamp>, said: &str) {
        let known = self.providers.get(provider);
        let parked = known.and_then(|known| known.until);
        // Refusals of attempts that ran beside the first refused one belong to the same refusal.
        let times = known.map_or(0, |known| known.times) + u32::from(parked.is_none());
        let named = reset.map(|at| at.0.saturating_sub(draft.now.0)).filter(|&ms| ms > 0);
        // A time in the near future, named again and again, must not become a busy loop.
        let least = self.config.uncharged_backoff.after(times);
        let after_ms = named.map_or_else(|| self.config.park_backoff.after(times), |ms| ms.max(least));
        let until = Timestamp(draft.now.0.saturating_add(after_ms.min(self.config.park_longest_ms)));
        let until = parked.map_or(until, |parked| parked.max(until));
        if parked == Some(until) {
            return;
        }
        let provider: Box<str> = provider.into();
        let after_ms = until.0.saturating_sub(draft.now.0);
        let reason = head(said, self.config.reason_bytes).into();
        draft.fact(FactKind::ProviderParked { provider: provider.clone(), until, after_ms, times, reason });
        draft.effect(Effect::SetTimer { timer: Timer::Unpark { provider, until }, after_ms });
    }

    pub(super) fn unpark_due(&self, draft: &mut Draft, provider: &str, until: Timestamp) -> Answer {
        if self.providers.get(provider).is_none_or(|known| known.until != Some(until)) {
            return Answer::Unchanged;
        }
        draft.fact(FactKind::ProviderResumed { provider: provider.into() });
        Answer::Done
    }

    /// An attempt passed: its provider is no longer limited.
    pub(super) fn served(&self, draft: &mut Draft, task: &Task, role: &RoleName) {
        let known = self.provider_of(task, role).and_then(|provider| self.providers.get(provider));
        if let Some(known) = known.filter(|known| known.until.is_none()) {
            draft.fact(FactKind::ProviderServed { provider: known.provider.clone() });
        }
    }

    /// Parked providers of a project's roles.
    pub(super) fn parked_in(&self, project: &Project) -> Vec<Box<str>> {
        let classes = project.record.spec.roles.iter().filter_map(|role| project.classes.get(&role.name));
        let mut parked: Vec<Box<str>> = classes.filter_map(|&ix| Some(self.parked(ix)?.provider.clone())).collect();
        parked.sort_unstable();
        parked.dedup();
        parked
    }

    /// The provider of a class, if it is parked.
    pub(super) fn parked(&self, ix: ClassIx) -> Option<&ProviderRecord> {
        let provider = self.classes[ix as usize].provider()?;
        self.providers.get(provider).filter(|known| known.until.is_some())
    }

    /// The timers of parked providers after a restart: what is left by the wall clock, but never more than the first
    /// wait, so that a clock that was set back does not park a provider for ever.
    pub(super) fn resume_providers(&self, draft: &mut Draft) {
        for known in self.providers.values() {
            let Some(until) = known.until else { continue };
            let after_ms = until.0.saturating_sub(draft.now.0).min(known.after_ms);
            draft.effect(Effect::SetTimer {
                timer: Timer::Unpark { provider: known.provider.clone(), until },
                after_ms,
            });
        }
    }

    // ---- facts --------------------------------------------------------------------------------

    pub(super) fn provider_parked(
        &mut self,
        provider: &str,
        until: Timestamp,
        (after_ms, times, reason): (u64, u32, &str),
        touched: &mut Touched,
    ) {
        let (until, reason) = (Some(until), reason.into());
        let record = ProviderRecord { provider: provider.into(), until, after_ms, times, reason };
        self.providers.insert(provider.into(), record);
        self.refresh_provider(provider, touched);
    }

    pub(super) fn provider_resumed(&mut self, provider: &str, touched: &mut Touched) {
        if let Some(known) = self.providers.get_mut(provider) {
            known.until = None;
        }
        self.refresh_provider(provider, touched);
    }

    pub(super) fn provider_served(&mut self, provider: &str, touched: &mut Touched) {
        self.providers.remove(provider);
        self.refresh_provider(provider, touched);
    }

    fn refresh_provider(&mut self, provider: &str, touched: &mut Touched) {
        touched.provider(provider.into());
        for ix in 0..self.classes.len() as ClassIx {
            if self.classes[ix as usize].provider() == Some(provider) {
                self.refresh_class(ix);
            }
        }
    }
}
