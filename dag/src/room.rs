//! An index of hosts for placement: which hosts have free slots, in the order of preference, and which fit a role. It
//! is used at every start of an attempt; a scan of a thousand hosts would be most of the cost of a start.
//! Deliberately absent: the rule of what fits (`placement`); `invariants` compares the index with that rule.

use std::collections::BTreeMap;

use crate::{engine::state::Host, ids::HostName};

/// Index of a host, in memory only; the index of a removed host is reused.
pub(crate) type HostIx = u32;

/// A set of hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<u64>);

impl Hosts {
    pub(crate) fn set(&mut self, ix: HostIx, member: bool) {
        let (word, bit) = (ix as usize / 64, 1 << (ix % 64));
        if word >= self.0.len() {
            if !member {
                return;
            }
            self.0.resize(word + 1, 0);
        }
        match member {
            true => self.0[word] |= bit,
            false => self.0[word] &= !bit,
        }
    }

    pub(crate) fn has(&self, ix: HostIx) -> bool {
        self.0.get(ix as usize / 64).is_some_and(|word| word & 1 << (ix % 64) != 0)
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }
}

/// The hosts for a role, with or without free slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fits {
    /// The host meets all needs.
    pub(crate) able: Hosts,
    /// The host also has the image; all able hosts, if the role has no image.
    pub(crate) at_once: Hosts,
}

/// Hosts with free slots, the least loaded first, equally loaded ones by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    order: BTreeMap<(u64, HostName), HostIx>,
    members: Hosts,
}

impl Room {
    /// The same hosts in the same order.
    pub(crate) fn order_is(&self, other: &Self) -> bool {
        self.order == other.order
    }

    /// Inserts a host at its present position.
    pub(crate) fn enter(&mut self, host: &Host) {
        if host.free() > 0 {
            self.order.insert((load(host), host.name.clone()), host.ix);
            self.members.set(host.ix, true);
        }
    }

    /// Removes a host, before it changes.
    pub(crate) fn leave(&mut self, host: &Host) {
        if host.free() > 0 {
            self.order.remove(&(load(host), host.name.clone()));
            self.members.set(host.ix, false);
        }
    }

    /// The least loaded host that has the image, else the least loaded host.
    pub(crate) fn choose(&self, fits: &Fits) -> Option<&HostName> {
        if !fits.able.meets(&self.members) {
            return None;
        }
        let wanted = if fits.at_once.meets(&self.members) { &fits.at_once } else { &fits.able };
        self.order.iter().find(|&(_, &ix)| wanted.has(ix)).map(|((_, name), _)| name)
    }
}

impl Room {
    /// Like [`Self::choose`], without one host; `None`: no other host has a free slot.
    pub(crate) fn choose_other(&self, fits: &Fits, but: HostIx) -> Option<&HostName> {
        let others = || self.order.iter().filter(|&(_, &ix)| ix != but);
        let first = |wanted: &Hosts| others().find(|&(_, &ix)| wanted.has(ix));
        first(&fits.at_once).or_else(|| first(&fits.able)).map(|((_, name), _)| name)
    }
}

/// Used slots of all slots, as a fraction of 2³²: exact below 65,536 slots.
pub(crate) fn load(host: &Host) -> u64 {
    ((host.running.len() as u64) << 32) / u64::from(host.slots().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_grows_with_its_members_only() {
        let mut hosts = Hosts::default();
        hosts.set(1000, false);
        assert_eq!((hosts.0.len(), hosts.has(1000)), (0, false));
        hosts.set(65, true);
        hosts.set(3, true);
        hosts.set(3, false);
        assert_eq!([3, 64, 65, 129].map(|ix| hosts.has(ix)), [false, false, true, false]);
        let mut other = Hosts::default();
        other.set(3, true);
        assert!(!hosts.meets(&other) && hosts.meets(&hosts));
    }
}
