//! The Taskmaster's side of hosts: reports, heartbeats and leases. Hosts on other machines have a lease; the host in
//! this process is available as long as the process is. Deliberately absent: links, and what a silent host means for
//! its attempts (the engine decides).

use std::time::Duration;

use devstack_dag::{
    command::{Command, HostReport},
    ids::HostName,
};
use ractor::ActorRef;

use super::{actor::State, message::TaskmasterMessage};
use crate::wire::HostOrder;

impl State {
    /// After a start nothing was heard yet: every known host has a full lease to come back.
    pub(super) fn expect_hosts(&mut self, myself: &ActorRef<TaskmasterMessage>) {
        let known: Vec<HostName> = self.engine.hosts().map(|host| host.host).collect();
        for host in known {
            if self.is_remote(&host) {
                self.leases.expect(&host);
            }
        }
        self.arm(myself);
    }

    pub(super) fn host_reported(&mut self, myself: &ActorRef<TaskmasterMessage>, report: HostReport) {
        if !self.is_remote(&report.host) {
            return self.tell(Command::ReportHost(report));
        }
        self.leases.heard(&report.host);
        self.arm(myself);
        let joined = (self.joined)(&report.host);
        self.tell(Command::ReportMember { report, joined });
    }

    pub(super) fn host_alive(&mut self, myself: &ActorRef<TaskmasterMessage>, host: &HostName) {
        if self.leases.heard(host) {
            // It counted as silent, and messages sent meanwhile may be lost.
            self.outbox.to_host(host, HostOrder::ReportAgain);
        }
        self.arm(myself);
    }

    pub(super) fn host_silent(&mut self, myself: &ActorRef<TaskmasterMessage>, host: &HostName) {
        self.leases.silent(host);
        self.lease_due(myself);
    }

    pub(super) fn lease_due(&mut self, myself: &ActorRef<TaskmasterMessage>) {
        for command in self.leases.due() {
            tracing::warn!(?command, "a host is silent");
            let (host, silent_ms) = match &command {
                Command::LoseHost { host, silent_ms } => (Some(host.clone()), *silent_ms),
                Command::SuspectHost(host) => (Some(host.clone()), 0),
                _ => (None, 0),
            };
            self.tell(command);
            // Attempts of one host may have different waiting times.
            if let Some(host) = host
                && let Some(patience) = self.engine.patience(&host, silent_ms)
            {
                self.leases.wait(&host, Duration::from_millis(patience));
            }
        }
        self.arm(myself);
    }

    /// One timer at a time, and none while no host has a lease.
    fn arm(&mut self, myself: &ActorRef<TaskmasterMessage>) {
        if let Some(after) = self.leases.arm() {
            myself.send_after(after, || TaskmasterMessage::LeaseDue);
        }
    }

    pub(super) fn is_remote(&self, host: &HostName) -> bool {
        self.local_host.as_ref() != Some(host)
    }
}
