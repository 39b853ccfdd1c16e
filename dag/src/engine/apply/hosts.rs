//! Facts about hosts: what they have, whether they are there, and what people want of them.

use crate::{
    command::Quarantine,
    engine::{Engine, state::Host, touched::Touched},
    ids::{HostName, Timestamp},
    presence::Presence,
    record::Drain,
};

impl Engine {
    /// Changes a host and keeps the count of free slots. False: there is no such host.
    pub(in crate::engine) fn change_host(&mut self, name: &HostName, change: impl FnOnce(&mut Host)) -> bool {
        let Some(host) = self.hosts.get_mut(name) else { return false };
        self.free -= host.free();
        change(host);
        self.free += host.free();
        true
    }

    pub(super) fn host_reported(&mut self, name: &HostName, slots: u32, secrets: &[String], touched: &mut Touched) {
        self.hosts.entry(name.clone()).or_insert_with(|| Host::new(name.clone(), 0, Vec::new()));
        self.change_host(name, |host| {
            (host.slots, host.secrets) = (slots, secrets.to_vec());
            host.allowed = slots.max(host.running.len() as u32);
        });
        touched.host(name.clone());
    }

    pub(super) fn host_quarantined(&mut self, name: &HostName, quarantine: Option<&Quarantine>, touched: &mut Touched) {
        if self.change_host(name, |host| host.quarantine = quarantine.cloned()) {
            touched.host(name.clone());
        }
    }

    /// Presence is in no record.
    pub(super) fn host_is(&mut self, name: &HostName, presence: Presence) {
        self.change_host(name, |host| host.presence = presence);
    }

    pub(super) fn host_drained(
        &mut self,
        at: Timestamp,
        name: &HostName,
        deadline_ms: Option<u64>,
        touched: &mut Touched,
    ) {
        if self.change_host(name, |host| host.drain = Some(Drain { since: at, deadline_ms })) {
            touched.host_intent(name.clone());
        }
    }

    pub(super) fn host_undrained(&mut self, name: &HostName, touched: &mut Touched) {
        if self.change_host(name, |host| host.drain = None) {
            touched.host_intent(name.clone());
        }
    }

    pub(super) fn host_removed(&mut self, name: &HostName, touched: &mut Touched) {
        let Some(host) = self.hosts.remove(name) else { return };
        self.free -= host.free();
        touched.host(name.clone());
        touched.host_intent(name.clone());
    }
}
