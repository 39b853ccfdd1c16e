//! Hosts: presence, capacity, and the settings of operators.
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

/// The stable words of a host's presence.
pub const PRESENCES: [&str; 4] = ["awaited", "present", "suspect", "lost"];

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Host {
    /// The name.
    pub name: String,
    /// Whether the host is connected.
    pub up: bool,
    /// `awaited` (known from before the Taskmaster's start), `present`, `suspect` (silent for a while) or `lost` (its
    /// attempts are replaced).
    pub presence: String,
    /// The start of the presence; `null`: before the Taskmaster's start.
    pub since: Option<Time>,
    /// Set while the host is draining.
    pub drain: Option<Draining>,
    /// The number of usable slots: the claim within the limits.
    pub slots: u32,
    /// The number of slots that the host claims.
    pub claimed: u32,
    /// The number of slots in use.
    pub used: u32,
    /// The number of slots for new attempts.
    pub free: u32,
    /// Slots that are unusable for now.
    pub quarantine: Option<Unusable>,
    /// Names of secrets that the host claims to have.
    pub secrets: Vec<String>,
    /// The limits of the host; `null`: no limits.
    pub pins: Option<Pins>,
    /// Claims beyond the limits, in words.
    pub cut: Vec<String>,
    /// Attempts whose end is long overdue. The host gets no new attempts until it reports how they ended.
    pub owes: Vec<String>,
    /// Other properties of the host.
    #[serde(flatten)]
    pub setup: Setup,
}

/// Properties of a host besides its slots; `null`: not reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setup {
    /// `docker` or `process`; `null`: the version of the host does not report it.
    pub runtime: Option<String>,
    /// The isolation of attempts from the machine: `docker`, `bwrap 0.8.0`, or `unsandboxed: ` and the reason.
    pub sandbox: Option<String>,
    /// The version of the node.
    pub version: Option<String>,
    /// Labels from the configuration of the host, for roles that require them.
    pub labels: Option<BTreeMap<String, String>>,
    /// The roles that the host accepts; empty: all.
    pub roles: Option<Vec<String>>,
    /// The number of images available locally, counted by names and digests.
    pub images: Option<u32>,
    /// The networks of attempts.
    pub shards: Option<Vec<Shard>>,
    /// The last time since the Taskmaster's start that the session of the host was closed because of an invalid
    /// message; `null`: never.
    pub cut_off: Option<CutOff>,
}

/// The end of a session because of an invalid message of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CutOff {
    /// The time.
    pub at: Time,
    /// The reason.
    pub why: String,
}

/// A network of a host for attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shard {
    /// The name on the host.
    pub name: String,
    /// The subnet, as `10.200.0.0/24`; `null`: the network does not exist yet, and any subnet is possible.
    pub subnet: Option<String>,
    /// Ports in use: attempts attached to the network.
    pub ports: u32,
    /// The maximum number of ports.
    pub capacity: u32,
}

impl Setup {
    /// Adds the properties that the host reports.
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

/// The drain of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Draining {
    /// The start.
    pub since: Time,
    /// The time when running attempts are stopped and not charged; later if the Taskmaster restarted meanwhile. `null`:
    /// no limit.
    pub until: Option<Time>,
}

impl From<Drain> for Draining {
    fn from(drain: Drain) -> Self {
        Self { since: drain.since.into(), until: drain.deadline_ms.map(|ms| Time(drain.since.0.saturating_add(ms))) }
    }
}

/// Slots that are unusable for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unusable {
    /// The number of slots.
    pub slots: u32,
    /// The reason.
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
    /// The host, as in the list.
    #[serde(flatten)]
    pub host: Host,
    /// The attempts on the host, in the order of their tasks.
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
    /// The agent.
    pub agent: String,
    /// The role.
    pub role: String,
    /// Whether the state of the attempt is unknown because the host is silent.
    pub unknown: bool,
    /// The time of the order.
    pub started_at: Time,
}

impl HostAttempt {
    /// Converts a record to the API's form.
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

/// The number of hosts in each presence; every word is present.
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
