//! Hosts: whether they are there, what they have, and what people want of them.
//! Deliberately absent: membership in the cluster ([`super::Member`]).

use std::collections::BTreeMap;

use devstack_dag::{
    command::{Quarantine, ShardReport},
    ids::RoleName,
    record::{AttemptRecord, Drain},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Pins, Time, V1, words};
use crate::wire::Introduction;

/// The stable words for whether a host is there.
pub const PRESENCES: [&str; 4] = ["awaited", "present", "suspect", "lost"];

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Is it connected?
    pub up: bool,
    /// `awaited`, `present`, `suspect` or `lost`: known from before the Taskmaster's start, there, silent for a while, given up.
    pub presence: String,
    /// Since when it is so; `null`: since before the Taskmaster's start.
    pub since: Option<Time>,
    /// Set while people want it empty.
    pub drain: Option<Draining>,
    /// Room for so many attempts: what it claims, as far as it may.
    pub slots: u32,
    /// Room for so many attempts, as it claims.
    pub claimed: u32,
    /// Attempts there now.
    pub used: u32,
    /// Attempts that may be started there now.
    pub free: u32,
    /// Slots that it cannot use for now.
    pub quarantine: Option<Unusable>,
    /// Names of secrets it can resolve, as it claims.
    pub secrets: Vec<String>,
    /// What it is held to; `null`: nothing was said.
    pub pins: Option<Pins>,
    /// What it claims and does not get, in words.
    pub cut: Vec<String>,
    /// Attempts whose end is long overdue: until it says how they ended, it gets no others.
    pub owes: Vec<String>,
    /// What else is known of it.
    #[serde(flatten)]
    pub setup: Setup,
}

/// What is known of a host beside its slots; `null`: it has not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setup {
    /// `docker` or `process`; `null`: a host of a version that does not say.
    pub runtime: Option<String>,
    /// What keeps attempts from the machine: `docker`, `bwrap 0.8.0`, or `unsandboxed: ` and why.
    pub sandbox: Option<String>,
    /// The version of its node.
    pub version: Option<String>,
    /// What its configuration says of it, for roles that ask for it.
    pub labels: Option<BTreeMap<String, String>>,
    /// The roles whose attempts it takes; empty: all.
    pub roles: Option<Vec<String>>,
    /// How many images it need not fetch first, counted by their names and digests.
    pub images: Option<u32>,
    /// The networks that its attempts are attached to.
    pub shards: Option<Vec<Shard>>,
    /// The last time that its session was ended for what it had said, since the Taskmaster's start; `null`: never.
    pub cut_off: Option<CutOff>,
}

/// The end of a session for what the host had said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CutOff {
    /// When.
    pub at: Time,
    /// For what.
    pub why: String,
}

/// One of a host's networks for attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shard {
    /// Its name on that host.
    pub name: String,
    /// Its addresses, as `10.200.0.0/24`; `null`: it was not made yet, and any will do.
    pub subnet: Option<String>,
    /// Ports in use: attempts attached to it.
    pub ports: u32,
    /// The most there may be.
    pub capacity: u32,
}

impl Setup {
    /// Of a host that introduced itself.
    pub fn introduced(said: Introduction) -> Self {
        let Introduction { version, runtime, sandbox } = said;
        Self { runtime, sandbox, version, ..Self::default() }
    }

    /// With what the host says it is.
    pub fn offering(
        self,
        labels: &BTreeMap<String, String>,
        roles: &[RoleName],
        images: &[String],
        shards: &[ShardReport],
    ) -> Self {
        Self {
            labels: Some(labels.clone()),
            roles: Some(roles.iter().map(ToString::to_string).collect()),
            images: Some(u32::try_from(images.len()).unwrap_or(u32::MAX)),
            shards: Some(shards.iter().map(Shard::from).collect()),
            ..self
        }
    }
}

impl From<&ShardReport> for Shard {
    fn from(report: &ShardReport) -> Self {
        let subnet = Some(report.subnet.clone()).filter(|subnet| !subnet.is_empty());
        Self { name: report.name.clone(), subnet, ports: report.ports, capacity: report.capacity }
    }
}

/// A host that people want empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Draining {
    /// Since when.
    pub since: Time,
    /// What still runs then is stopped, uncharged; later, if the Taskmaster was restarted meanwhile. `null`: it may take
    /// as long as it takes.
    pub until: Option<Time>,
}

impl From<Drain> for Draining {
    fn from(drain: Drain) -> Self {
        Self { since: drain.since.into(), until: drain.deadline_ms.map(|ms| Time(drain.since.0.saturating_add(ms))) }
    }
}

/// Slots that a host cannot use for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unusable {
    /// How many.
    pub slots: u32,
    /// Why.
    pub why: String,
}

impl From<Quarantine> for Unusable {
    fn from(quarantine: Quarantine) -> Self {
        Self { slots: quarantine.slots, why: quarantine.why }
    }
}

/// Everything about a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostDetail {
    /// As in the list.
    #[serde(flatten)]
    pub host: Host,
    /// The attempts that run there, in the order of their tasks.
    pub attempt_list: Vec<HostAttempt>,
}

/// An attempt on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostAttempt {
    /// `project/id`.
    pub task: String,
    /// Counts from 1 in the task.
    pub number: u32,
    /// `work` or `check`.
    pub stage: String,
    /// Who.
    pub agent: String,
    /// In which role.
    pub role: String,
    /// Does nobody know how it is, because the host is silent?
    pub unknown: bool,
    /// When it was ordered.
    pub started_at: Time,
}

impl HostAttempt {
    /// A record as the API shows it.
    pub fn from_record(record: &AttemptRecord, unknown: bool) -> Self {
        Self {
            task: record.attempt.task.to_string(),
            number: record.attempt.number,
            stage: words::stage(record.stage).to_owned(),
            agent: record.agent.to_string(),
            role: record.role.to_string(),
            unknown,
            started_at: record.started_at.into(),
        }
    }
}

/// `GET /v1/hosts/{host}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HostPage {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The host.
    pub host: HostDetail,
}

/// How many hosts have each presence; every word is there.
pub fn by_presence(hosts: &[Host]) -> BTreeMap<String, u64> {
    let count = |word: &str| hosts.iter().filter(|host| host.presence == word).count() as u64;
    PRESENCES.into_iter().map(|word| (word.to_owned(), count(word))).collect()
}

#[cfg(test)]
mod tests {
    use devstack_dag::{ids::Timestamp, presence::Presence};

    use super::*;

    #[test]
    fn every_presence_has_its_word() {
        let since = Timestamp(1);
        let all =
            [Presence::Awaited, Presence::Present { since }, Presence::Suspect { since }, Presence::Lost { since }];
        assert_eq!(all.map(Presence::as_str), PRESENCES);
    }

    #[test]
    fn a_deadline_beyond_all_time_is_the_last_moment() {
        let drain = Drain { since: Timestamp(5), deadline_ms: Some(u64::MAX) };
        assert_eq!(Draining::from(drain).until, Some(Time(u64::MAX)));
    }
}
