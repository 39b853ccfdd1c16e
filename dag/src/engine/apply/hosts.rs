//! Facts about hosts: their resources, their presence, and what users want of them.

use std::collections::BTreeSet;

use crate::{
    command::Quarantine,
    engine::{Engine, state::Host, touched::Touched},
    ids::{HostName, Timestamp},
    offer::Offer,
    presence::Presence,
    record::{Drain, Pins},
    room::HostIx,
};

impl Engine {
    /// Changes a host, and updates the count of free slots and the host's place in the index. False: there is no such
    /// host.
    pub(in crate::engine) fn change_host(&mut self, name: &HostName, change: impl FnOnce(&mut Host)) -> bool {
        let Some(host) = self.hosts.get_mut(name) else { return false };
        self.free = self.free.saturating_sub(host.free().into());
        self.room.leave(host);
        change(host);
        self.room.enter(host);
        self.free = self.free.saturating_add(host.free().into());
        true
    }

    /// Adds an unknown host. Indices are reused, so that they stay small.
    pub(in crate::engine) fn insert_host(&mut self, mut host: Host) {
        let used: BTreeSet<HostIx> = self.hosts.values().map(|host| host.ix).collect();
        host.ix = (0..).find(|ix| !used.contains(ix)).unwrap_or(HostIx::MAX);
        let name = host.name.clone();
        self.hosts.insert(name.clone(), host);
        self.refresh_fits_of(&name);
    }

    /// Notes a host's offer. No fact: see [`crate::offer`].
    pub(in crate::engine) fn observe(&mut self, name: &HostName, offer: Offer) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let moves = host.offer.as_ref().is_none_or(|known| !known.places_like(&offer));
        host.offer = Some(offer);
        if moves {
            self.refresh_fits_of(name);
        }
    }

    pub(super) fn host_reported(&mut self, name: &HostName, slots: u32, touched: &mut Touched) {
        if !self.hosts.contains_key(name) {
            self.insert_host(Host::new(name.clone(), 0));
        }
        self.change_host(name, |host| {
            host.claimed = slots;
            host.allowed = host.slots().max(host.running.len() as u32);
        });
        self.refresh_fits_of(name);
        touched.host(name.clone());
    }

    pub(super) fn host_quarantined(
        &mut self,
        at: Timestamp,
        name: &HostName,
        quarantine: Option<&Quarantine>,
        touched: &mut Touched,
    ) {
        let change = |host: &mut Host| {
            host.quarantine = quarantine.cloned();
            match quarantine {
                Some(quarantine) if quarantine.slots >= host.slots() => host.ends(at, true),
                _ if host.presence.is_present() => host.is_back(at),
                _ => {}
            }
        };
        if self.change_host(name, change) {
            touched.host(name.clone());
        }
    }

    /// No record contains presence.
    pub(super) fn host_is(&mut self, name: &HostName, presence: Presence) {
        self.change_host(name, |host| {
            match presence {
                Presence::Suspect { since } => host.ends(since, true),
                // The Taskmaster was suspended, and perhaps the host with it: they may share a machine.
                Presence::Present { since } if host.presence == Presence::Awaited => host.ends(since, false),
                _ => {}
            }
            if let Presence::Present { since } = presence {
                host.is_back(since);
            }
            host.presence = presence;
        });
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

    pub(super) fn host_pinned(&mut self, name: &HostName, pins: Option<&Pins>, touched: &mut Touched) {
        let is_known = self.change_host(name, |host| {
            host.pins = pins.cloned().map(Box::new);
            host.allowed = host.slots().max(host.running.len() as u32);
        });
        if is_known {
            self.refresh_fits_of(name);
            touched.host_intent(name.clone());
        }
    }

    pub(super) fn host_removed(&mut self, name: &HostName, touched: &mut Touched) {
        let Some(host) = self.hosts.remove(name) else { return };
        self.free = self.free.saturating_sub(host.free().into());
        self.room.leave(&host);
        touched.host(name.clone());
        touched.host_intent(name.clone());
    }
}
