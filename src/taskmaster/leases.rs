//! Leases of hosts on other machines: who was heard when, on a clock that does not jump and counts while the machine
//! sleeps. The rules are the pure [`Membership`]'s; here are the clock and the one timer.
//! Deliberately absent: what becomes of a host's attempts (the engine decides), and the host of this process.

use std::{collections::HashMap, time::Duration};

use devstack_cluster::{Leases as Limits, Membership, NodeName, Standing};
use devstack_dag::{command::Command, ids::HostName};
use nix::time::{ClockId, clock_gettime};

/// The timer may be late by this much before this process itself is taken for the one that was away: a busy machine.
const LATE: Duration = Duration::from_secs(2);

/// The leases.
pub(super) struct Leases {
    limits: Limits,
    members: Membership,
    /// When each was heard last.
    last: HashMap<HostName, Duration>,
    /// When the timer that runs will fire.
    armed: Option<Duration>,
}

impl Leases {
    /// Nobody has one.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, members: Membership::new(limits), last: HashMap::new(), armed: None }
    }

    /// A host that was known before this Taskmaster: it has a full lease to come back.
    pub(super) fn expect(&mut self, host: &HostName) {
        if let Some(name) = node(host) {
            self.members.expect(now(), &name);
        }
    }

    /// It was heard. Was it silent before?
    pub(super) fn heard(&mut self, host: &HostName) -> bool {
        let Some(name) = node(host) else { return false };
        let (was, now) = (self.members.standing(&name), now());
        self.members.heard(now, &name);
        self.last.insert(host.clone(), now);
        was != Some(Standing::Alive)
    }

    /// Its link went down.
    pub(super) fn silent(&mut self, host: &HostName) {
        if let Some(name) = node(host) {
            self.members.silent(now(), &name);
        }
    }

    /// It is no host any more.
    pub(super) fn remove(&mut self, host: &HostName) {
        if let Some(name) = node(host) {
            self.members.remove(&name);
        }
        self.last.remove(host);
    }

    /// How long it was not heard; `None`: it never was.
    pub(super) fn silence(&self, host: &HostName) -> Option<Duration> {
        Some(now().saturating_sub(*self.last.get(host)?))
    }

    /// What follows for the engine. If this process was away itself (frozen, or its machine asleep), nobody could be heard:
    /// everybody gets a full lease.
    pub(super) fn due(&mut self) -> Vec<Command> {
        let now = now();
        if self.armed.take().is_some_and(|armed| now > armed + LATE) {
            tracing::warn!("this node was away; every host gets a full lease");
            let known: Vec<NodeName> = self.members.members().map(|(name, _)| name.clone()).collect();
            self.members = Membership::new(self.limits);
            known.iter().for_each(|name| self.members.expect(now, name));
        }
        let changes = self.members.due(now).into_iter();
        changes.filter_map(|change| command(change.standing, host(&change.name)?, change.silent)).collect()
    }

    /// A silent host is given up, with what is left of it, when it was silent for so long in all.
    pub(super) fn wait(&mut self, host: &HostName, silent: Duration) {
        if let Some(name) = node(host) {
            self.members.wait(&name, silent);
        }
    }

    /// How long until [`Self::due`] must be asked; `None`: a timer for that runs already, or nobody has a lease.
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

/// Names of hosts that have links are names of nodes, too.
fn node(host: &HostName) -> Option<NodeName> {
    NodeName::new(host.as_str()).ok()
}

fn host(node: &NodeName) -> Option<HostName> {
    HostName::new(node.as_str()).ok()
}

/// Since boot. Zero only where the clock does not exist (before Linux 2.6.39).
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Into::into)
}
