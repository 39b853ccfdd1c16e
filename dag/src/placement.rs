//! Which host gets the next attempt of a role. The host must accept the role, have the role's labels and know its
//! secrets. Of the hosts with free slots, one that has the image comes before one that must fetch it, then the least
//! loaded.
//! Deliberately absent: which task is next (`ready`), leases of silent hosts, and the search over a thousand hosts
//! (`room`).

use std::{collections::BTreeMap, fmt};

use crate::{
    engine::state::Host,
    ids::{HostName, ProjectName, RoleName},
    profile::Words,
};

/// The requirements of a role's attempts on a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// The host may get attempts of this role.
    pub(crate) project: &'a ProjectName,
    /// The host accepts this role, and may get it.
    pub(crate) role: &'a RoleName,
    /// The host has all of these labels.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// The host has all of these secrets.
    pub(crate) all: &'a [String],
    /// One secret of each group; a group with a member of `all` is satisfied.
    pub(crate) groups: &'a [Words],
    /// Preferred, not required: a host without the image fetches it.
    pub(crate) image: Option<&'a str>,
}

impl Needs<'_> {
    /// Whether the host meets all needs. A host that has not reported meets none.
    pub(crate) fn met(&self, host: &Host) -> bool {
        host.offer.is_some() && self.may_be_met(host)
    }

    /// Whether the host may meet the needs, as far as is known. Nothing is known of a host that has not reported.
    fn may_be_met(&self, host: &Host) -> bool {
        host.may_take(self.project, self.role)
            && host.offer.as_ref().is_none_or(|offer| {
                self.secrets_on(host)
                    && offer.accepts(self.role)
                    && self.labels.iter().all(|(key, value)| host.has_label(key, value))
            })
    }

    /// Whether the needs would be met if the host got everything that it claims.
    fn is_claimed(&self, host: &Host) -> bool {
        host.offer.as_ref().is_some_and(|offer| {
            self.all.iter().all(|name| offer.knows(name))
                && self.open().all(|group| group.iter().any(|name| offer.knows(name)))
                && offer.accepts(self.role)
                && self.labels.iter().all(|(key, value)| offer.has_label(key, value))
        })
    }

    fn takes_role(&self, host: &Host) -> bool {
        host.may_take(self.project, self.role) && host.offer.as_ref().is_some_and(|offer| offer.accepts(self.role))
    }

    fn secrets_on(&self, host: &Host) -> bool {
        self.all.iter().all(|name| host.knows(name)) && self.open().all(|group| first(group, host).is_some())
    }

    /// Whether the host has the image already.
    pub(crate) fn image_on(&self, host: &Host) -> bool {
        self.image.is_none_or(|image| host.offer.as_ref().is_some_and(|offer| offer.has_image(image)))
    }

    /// Groups that no secret of `all` satisfies.
    fn open(&self) -> impl Iterator<Item = &[Box<str>]> {
        let given = |group: &[Box<str>]| group.iter().any(|name| self.all.iter().any(|other| **other == **name));
        self.groups.iter().map(|group| &**group).filter(move |group| !given(group))
    }

    /// Whether the secrets that an attempt gets depend on the secrets that its host has.
    pub(crate) fn ask_the_host(&self) -> bool {
        self.open().next().is_some()
    }

    /// The names of the secrets for an attempt on this host: all, and of each group the first that the host has.
    pub(crate) fn on(&self, host: Option<&Host>) -> Vec<String> {
        let chosen = self.open().filter_map(|group| first(group, host?)).map(str::to_owned);
        self.all.iter().cloned().chain(chosen).collect()
    }

    /// Why none of these hosts meets the needs, as a clause; `None`: one does, or there is no host.
    pub(crate) fn lacking(&self, hosts: &[&Host]) -> Option<String> {
        if hosts.is_empty() || hosts.iter().any(|host| self.met(host)) {
            return None;
        }
        if let Some(host) = hosts.iter().find(|host| self.is_claimed(host)) {
            let name = &host.name;
            return Some(format!(
                "no available host may run it: {name} claims that it can, but its pins forbid it \
                 (`devstack host show {name}`)"
            ));
        }
        let some = |has: &dyn Fn(&Host) -> bool| hosts.iter().any(|host| has(host));
        let mut lacks = Vec::new();
        if !some(&|host| self.takes_role(host)) {
            lacks.push(format!("accepts the role `{}`", self.role));
        }
        for (key, value) in self.labels {
            if !some(&|host| host.has_label(key, value)) {
                lacks.push(format!("has the label {key} = \"{value}\""));
            }
        }
        for name in self.all.iter().filter(|name| !some(&|host| host.knows(name))) {
            lacks.push(format!("has the secret {name}"));
        }
        for group in self.open().filter(|group| !some(&|host| first(group, host).is_some())) {
            lacks.push(format!("has the secret {}", group.join(" or ")));
        }
        if lacks.is_empty() {
            return Some(format!("no available host has all of this: {self}"));
        }
        Some(format!("no available host {}, which role `{}` needs", lacks.join(", or "), self.role))
    }
}

/// The text for humans: `role dev, label gpu = "a100", secrets A, B or C`.
impl fmt::Display for Needs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role {}", self.role)?;
        for (key, value) in self.labels {
            write!(f, ", label {key} = \"{value}\"")?;
        }
        for secret in self.all.iter().cloned().chain(self.open().map(|group| group.join(" or "))) {
            write!(f, ", secret {secret}")?;
        }
        Ok(())
    }
}

fn first<'a>(group: &'a [Box<str>], host: &Host) -> Option<&'a str> {
    group.iter().map(|name| &**name).find(|name| host.knows(name))
}

/// Whether any host can run it at some time, whatever is running now, without a user's action on the hosts.
pub(crate) fn possible(hosts: &BTreeMap<HostName, Host>, needs: Needs<'_>) -> bool {
    hosts.values().any(|host| host.is_expected() && needs.may_be_met(host))
}

/// The definition of what [`crate::room::Room::choose`] finds, by scanning every host.
pub(crate) fn choose<'a>(hosts: &'a BTreeMap<HostName, Host>, needs: Needs<'_>) -> Option<&'a HostName> {
    let fits = |host: &&Host| host.free() > 0 && needs.met(host);
    // Among equals the first by name, because `min_by_key` keeps the first.
    let order = |host: &&Host| (!needs.image_on(host), crate::room::load(host));
    hosts.values().filter(fits).min_by_key(order).map(|host| &host.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::Timestamp, offer::Offer, presence::Presence};

    /// A host that reports this many slots, of which this many are used.
    fn host(name: &str, (slots, used): (u32, u32), secrets: &[&str], offer: Offer) -> Host {
        let mut host = Host::new(HostName::new(name).unwrap(), slots);
        host.running.extend(0..used);
        host.presence = Presence::Present { since: Timestamp(0) };
        host.offer = Some(Offer { secrets: secrets.iter().map(|s| s.to_string()).collect(), ..offer });
        host
    }

    fn all(hosts: Vec<Host>) -> BTreeMap<HostName, Host> {
        hosts.into_iter().map(|host| (host.name.clone(), host)).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The needs of the role `dev`, to be filled in.
    struct Asks(RoleName, BTreeMap<String, String>, Vec<String>, ProjectName);

    impl Asks {
        fn new(pairs: &[(&str, &str)], secrets: &[&str]) -> Self {
            let secrets = secrets.iter().map(|s| s.to_string()).collect();
            Self(RoleName::new("dev").unwrap(), labels(pairs), secrets, ProjectName::new("p").unwrap())
        }

        fn needs(&self) -> Needs<'_> {
            Needs { project: &self.3, role: &self.0, labels: &self.1, all: &self.2, groups: &[], image: None }
        }
    }

    #[test]
    fn least_loaded_with_room_and_secrets_wins() {
        let plain = |name, room, secrets: &[&str]| host(name, room, secrets, Offer::default());
        let hosts = all(vec![
            plain("a", (2, 1), &[]),
            plain("b", (4, 1), &[]),
            plain("c", (9, 0), &[]),
            plain("d", (1, 0), &["KEY"]),
        ]);
        let chosen = |secrets: &[&str]| choose(&hosts, Asks::new(&[], secrets).needs()).map(HostName::as_str);
        assert_eq!((chosen(&[]), chosen(&["KEY"]), chosen(&["OTHER"])), (Some("c"), Some("d"), None));
        let busy = all(vec![plain("a", (2, 1), &[]), plain("b", (4, 1), &[])]);
        let asks = Asks::new(&[], &[]);
        assert_eq!(choose(&busy, asks.needs()).map(HostName::as_str), Some("b"));
        assert!(choose(&all(vec![plain("a", (1, 1), &[])]), asks.needs()).is_none());
    }

    #[test]
    fn roles_and_labels_are_needed_and_an_image_is_wanted() {
        let gpu = Offer { labels: labels(&[("gpu", "a100"), ("disk", "ssd")]), ..Offer::default() };
        let image = Offer { images: vec!["agent:1".into(), "sha256:07".into()], ..gpu.clone() };
        let other = Offer { roles: vec![RoleName::new("senior").unwrap()], ..gpu.clone() };
        let hosts = all(vec![
            host("empty", (9, 0), &[], Offer { labels: labels(&[("gpu", "t4")]), ..Offer::default() }),
            host("fetches", (9, 1), &[], gpu),
            host("has", (9, 8), &[], image),
            host("other", (9, 0), &[], other),
        ]);
        let asks = Asks::new(&[("gpu", "a100")], &[]);
        let chosen = |image| choose(&hosts, Needs { image, ..asks.needs() }).map(HostName::as_str);
        assert_eq!((chosen(None), chosen(Some("agent:2"))), (Some("fetches"), Some("fetches")));
        assert_eq!((chosen(Some("agent:1")), chosen(Some("any@sha256:07"))), (Some("has"), Some("has")));
        assert_eq!(chosen(Some("agent:1@sha256:08")), Some("fetches"), "the name stands for another one by now");
    }

    #[test]
    fn what_no_host_has_is_named() {
        let gpu = Offer { labels: labels(&[("gpu", "a100")]), ..Offer::default() };
        let (a, b) = (host("a", (1, 0), &["KEY"], Offer::default()), host("b", (1, 1), &[], gpu));
        let says = |asks: Asks, hosts: &[&Host]| asks.needs().lacking(hosts).unwrap_or_default();
        assert_eq!(says(Asks::new(&[("gpu", "a100")], &[]), &[&a, &b]), "");
        let text = says(Asks::new(&[("gpu", "h100")], &["OTHER"]), &[&a, &b]);
        assert!(text.contains("has the label gpu = \"h100\", or has the secret OTHER"), "{text}");
        let text = says(Asks::new(&[("gpu", "a100")], &["KEY"]), &[&a, &b]);
        assert!(text.contains("all of this: role dev, label gpu = \"a100\", secret KEY"), "{text}");
    }

    #[test]
    fn what_a_host_is_that_was_not_heard_of_nobody_knows() {
        let mut unheard = host("a", (1, 0), &[], Offer::default());
        unheard.offer = None;
        let (hosts, asks) = (all(vec![unheard]), Asks::new(&[("gpu", "a100")], &[]));
        assert!(choose(&hosts, asks.needs()).is_none() && possible(&hosts, asks.needs()));
    }

    #[test]
    fn of_a_group_the_first_that_the_host_knows_is_given() {
        let hosts = all(vec![
            host("a", (1, 0), &["TOKEN", "KEY"], Offer::default()),
            host("b", (1, 0), &["OTHER"], Offer::default()),
        ]);
        let group: Words = ["KEY".into(), "TOKEN".into()].into();
        let (groups, asks) = ([group], Asks::new(&[], &[]));
        let needs = Needs { groups: &groups, ..asks.needs() };
        assert_eq!(choose(&hosts, needs).map(HostName::as_str), Some("a"));
        assert_eq!(needs.on(hosts.values().next()), ["KEY"]);
        assert_eq!(needs.to_string(), "role dev, secret KEY or TOKEN");
        // A role that names one of a group gets that one and no other.
        let named = Asks::new(&[], &["TOKEN"]);
        assert_eq!(Needs { groups: &groups, ..named.needs() }.on(hosts.values().next()), ["TOKEN"]);
        assert!(!possible(&all(vec![host("b", (1, 0), &["OTHER"], Offer::default())]), needs));
    }
}
