//! Which host gets the next attempt of a role: one that knows all its secrets and has room, the least loaded first.
//! Deliberately absent: which task is next (`ready`) and leases of silent hosts.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{engine::state::Host, ids::HostName};

/// The host for an attempt that needs these secrets, if any has room.
pub(crate) fn choose<'a>(hosts: &'a BTreeMap<HostName, Host>, secrets: &[String]) -> Option<&'a HostName> {
    let fits = |host: &&Host| host.free() > 0 && secrets.iter().all(|s| host.secrets.contains(s));
    // Equal loads: the first by name, because `min_by` keeps the first.
    hosts.values().filter(fits).min_by(|a, b| load(a, b)).map(|host| &host.name)
}

/// Can any host ever run it, whatever is running now?
pub(crate) fn possible(hosts: &BTreeMap<HostName, Host>, secrets: &[String]) -> bool {
    hosts.values().any(|host| host.slots > 0 && secrets.iter().all(|s| host.secrets.contains(s)))
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
            (name, host)
        };
        list.iter().map(host).collect()
    }

    #[test]
    fn least_loaded_with_room_and_secrets_wins() {
        let all = hosts(&[("a", 2, 1, &[]), ("b", 4, 1, &[]), ("c", 9, 0, &[]), ("d", 1, 0, &["KEY"])]);
        let chosen = |secrets: &[&str]| {
            let secrets: Vec<String> = secrets.iter().map(|s| s.to_string()).collect();
            choose(&all, &secrets).map(|h| h.as_str().to_owned())
        };
        assert_eq!(chosen(&[]).as_deref(), Some("c"));
        assert_eq!(chosen(&["KEY"]).as_deref(), Some("d"));
        assert_eq!(chosen(&["OTHER"]), None);
        let busy = hosts(&[("a", 2, 1, &[]), ("b", 4, 1, &[])]);
        assert_eq!(choose(&busy, &[]).map(HostName::as_str), Some("b"));
        assert!(choose(&hosts(&[("a", 1, 1, &[])]), &[]).is_none());
    }
}
