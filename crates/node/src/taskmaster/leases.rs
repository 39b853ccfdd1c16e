//! Leases of hosts on other machines: the time of the last message from each host, on a clock that does not jump and
//! counts while the machine sleeps. The rules are in the pure [`Membership`]; this file has the clock and the one
//! timer. Deliberately absent: what happens to a host's attempts (the engine decides), and the host of this process.

use std::{collections::HashMap, time::Duration};

use devstack_cluster::{Leases as Limits, Membership, NodeName, Standing};
use devstack_dag::{command::Command, ids::HostName};
use nix::time::{ClockId, clock_gettime};

/// Slack for a late timer. If it fires later than this, we assume that *this* process was suspended, not the hosts, and
/// renew all leases.
const LATE: Duration = Duration::from_secs(2);

/// The leases.
pub(super) struct Leases {
    limits: Limits,
    members: Membership,
    /// When each host was last heard.
    last: HashMap<HostName, Duration>,
    /// When the running timer will fire.
    armed: Option<Duration>,
}

impl Leases {
    /// Starts without leases.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, members: Membership::new(limits), last: HashMap::new(), armed: None }
    }

    /// A host that was known before this Taskmaster: it has a full lease to come back.
    pub(super) fn expect(&mut self, host: &HostName) {
        if let Some(name) = node(host) {
            self.members.expect(now(), &name);
        }
    }

    /// A message arrived. Returns whether the host was silent before.
    pub(super) fn heard(&mut self, host: &HostName) -> bool {
        let Some(name) = node(host) else { return false };
        let (was, now) = (self.members.standing(&name), now());
        self.members.heard(now, &name);
        self.last.insert(host.clone(), now);
        was != Some(Standing::Alive)
    }

    /// The host's link went down.
    pub(super) fn silent(&mut self, host: &HostName) {
        if let Some(name) = node(host) {
            self.members.silent(now(), &name);
        }
    }

    /// The host was removed.
    pub(super) fn remove(&mut self, host: &HostName) {
        if let Some(name) = node(host) {
            self.members.remove(&name);
        }
        self.last.remove(host);
    }

    /// How long the host has been silent; `None` if it was never heard.
    pub(super) fn silence(&self, host: &HostName) -> Option<Duration> {
        Some(now().saturating_sub(*self.last.get(host)?))
    }

    /// The commands for the engine that are due. If this process itself was suspended (frozen, or its machine asleep),
    /// it could hear nobody: every host gets a full lease.
    pub(super) fn due(&mut self) -> Vec<Command> {
        let now = now();
        if self.armed.take().is_some_and(|armed| now > armed + LATE) {
            tracing::warn!("this node was suspended; every host gets a full lease");
            let known: Vec<NodeName> = self.members.members().map(|(name, _)| name.clone()).collect();
            self.members = Membership::new(self.limits);
            known.iter().for_each(|name| self.members.expect(now, name));
        }
        let changes = self.members.due(now).into_iter();
        changes.filter_map(|change| command(change.standing, host(&change.name)?, change.silent)).collect()
    }

    /// A silent host, with its remaining attempts, is given up when it was silent for this long in total.
    pub(super) fn wait(&mut self, host: &HostName, silent: Duration) {
        if let Some(name) = node(host) {
            self.members.wait(&name, silent);
        }
    }

    /// The time until [`Self::due`] must be called; `None` if a timer for that already runs, or no host has a lease.
    pub(super) fn arm(&mut self) -> Option<Duration> {
        let (now, due) = (now(), self.members.next_due()?);
        if self.armed.is_some_and(|armed| armed <= due.max(now)) {
            return None;
        }
        self.armed = Some(due.max(now));
        Some(due.saturating_sub(now))
    }
}

fn command(standing: Standing, host: HostName, silent: Duration) -> Option<Command> {
    match standing {
        Standing::Alive => None,
        Standing::Suspect => Some(Command::SuspectHost(host)),
        Standing::Lost => {
            Some(Command::LoseHost { host, silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX) })
        }
    }
}

/// Names of hosts with links are valid node names.
fn node(host: &HostName) -> Option<NodeName> {
    NodeName::new(host.as_str()).ok()
}

fn host(node: &NodeName) -> Option<HostName> {
    HostName::new(node.as_str()).ok()
}

/// Time since boot. Zero only where the clock does not exist (before Linux 2.6.39).
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Into::into)
}
