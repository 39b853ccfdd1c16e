//! Which host gets the next attempt of a role: one that knows all its secrets and has room, the least loaded first.
//! Deliberately absent: which task is next (`ready`) and leases of silent hosts.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use crate::{engine::state::Host, ids::HostName, profile::Words};

/// The secrets of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// Each of these.
    pub(crate) all: &'a [String],
    /// Of each group one; a group with a member of `all` has it.
    pub(crate) groups: &'a [Words],
}

impl Needs<'_> {
    fn met(&self, host: &Host) -> bool {
        self.all.iter().all(|name| host.secrets.contains(name)) && self.open().all(|group| first(group, host).is_some())
    }

    /// Groups that no secret of `all` satisfies.
    fn open(&self) -> impl Iterator<Item = &[Box<str>]> {
        let given = |group: &[Box<str>]| group.iter().any(|name| self.all.iter().any(|other| **other == **name));
        self.groups.iter().map(|group| &**group).filter(move |group| !given(group))
    }

    /// The names an attempt gets on this host: all, and of each group the first that the host knows.
    pub(crate) fn on(&self, host: Option<&Host>) -> Vec<String> {
        let chosen = self.open().filter_map(|group| first(group, host?)).map(str::to_owned);
        self.all.iter().cloned().chain(chosen).collect()
    }
}

/// For people: `A, B or C`.
impl fmt::Display for Needs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.open().map(|group| group.join(" or "));
        f.write_str(&self.all.iter().cloned().chain(groups).collect::<Vec<_>>().join(", "))
    }
}

fn first<'a>(group: &'a [Box<str>], host: &Host) -> Option<&'a str> {
    group.iter().map(|name| &**name).find(|name| host.secrets.iter().any(|known| known == name))
}

/// The host for an attempt that needs these secrets, if any has room.
pub(crate) fn choose<'a>(hosts: &'a BTreeMap<HostName, Host>, needs: Needs<'_>) -> Option<&'a HostName> {
    let fits = |host: &&Host| host.free() > 0 && needs.met(host);
    // Equal loads: the first by name, because `min_by` keeps the first.
    hosts.values().filter(fits).min_by(|a, b| load(a, b)).map(|host| &host.name)
}

/// Can any host run it some day, whatever is running now, without a person doing something about the hosts?
pub(crate) fn possible(hosts: &BTreeMap<HostName, Host>, needs: Needs<'_>) -> bool {
    hosts.values().any(|host| host.is_expected() && needs.met(host))
}

/// Compares used/slots without dividing.
fn load(a: &Host, b: &Host) -> Ordering {
    let cross = |x: &Host, y: &Host| x.running.len() as u64 * u64::from(y.slots);
    cross(a, b).cmp(&cross(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[(&str, u32, u32, &[&str])]) -> BTreeMap<HostName, Host> {
        let host = |&(name, slots, used, secrets): &(&str, u32, u32, &[&str])| {
            let name = HostName::new(name).unwrap();
            let mut host = Host::new(name.clone(), slots, secrets.iter().map(|s| s.to_string()).collect());
            host.running.extend(0..used);
            host.presence = crate::presence::Presence::Present { since: crate::ids::Timestamp(0) };
            (name, host)
        };
        list.iter().map(host).collect()
    }

    #[test]
    fn least_loaded_with_room_and_secrets_wins() {
        let all = hosts(&[("a", 2, 1, &[]), ("b", 4, 1, &[]), ("c", 9, 0, &[]), ("d", 1, 0, &["KEY"])]);
        let chosen = |secrets: &[&str]| {
            let secrets: Vec<String> = secrets.iter().map(|s| s.to_string()).collect();
            choose(&all, Needs { all: &secrets, groups: &[] }).map(|h| h.as_str().to_owned())
        };
        assert_eq!(chosen(&[]).as_deref(), Some("c"));
        assert_eq!(chosen(&["KEY"]).as_deref(), Some("d"));
        assert_eq!(chosen(&["OTHER"]), None);
        let busy = hosts(&[("a", 2, 1, &[]), ("b", 4, 1, &[])]);
        let none = Needs { all: &[], groups: &[] };
        assert_eq!(choose(&busy, none).map(HostName::as_str), Some("b"));
        assert!(choose(&hosts(&[("a", 1, 1, &[])]), none).is_none());
    }

    #[test]
    fn of_a_group_the_first_that_the_host_knows_is_given() {
        let all = hosts(&[("a", 1, 0, &["TOKEN", "KEY"]), ("b", 1, 0, &["OTHER"])]);
        let group: Words = ["KEY".into(), "TOKEN".into()].into();
        let (groups, named) = ([group], ["TOKEN".to_owned()]);
        let needs = Needs { all: &[], groups: &groups };
        assert_eq!(choose(&all, needs).map(HostName::as_str), Some("a"));
        assert_eq!(needs.on(all.values().next()), ["KEY"]);
        assert_eq!(needs.to_string(), "KEY or TOKEN");
        // Who names one of a group gets that one and no other.
        assert_eq!(Needs { all: &named, groups: &groups }.on(all.values().next()), ["TOKEN"]);
        assert!(!possible(&hosts(&[("b", 1, 0, &["OTHER"])]), needs));
    }
}
