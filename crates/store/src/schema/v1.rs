//! The types of version 1, frozen: roles had no labels. Only the types that differ from version 2 are here; all others
//! read as in version 2. Deliberately absent: writing.

use std::{collections::BTreeMap, sync::Arc};

use devstack_dag::{
    fact::Fact,
    ids::{CommitId, ProjectName, RoleName, Timestamp},
    plan::{Limits, Network, ProfileUse, Review},
    profile::Profile,
    record::{Record, Spent},
};
use serde::Deserialize;

use super::{decode_exact, decode_start, v2};

/// The number of the only variant of [`devstack_dag::fact::FactKind`] and of [`Record`] that contains roles: the first
/// of each.
const WITH_ROLES: u32 = 0;

/// Reads a fact.
pub(super) fn fact(body: &[u8]) -> Result<Fact, String> {
    match decode_start::<(Timestamp, u32)>(body)? {
        (_, WITH_ROLES) => decode_exact::<RolesFact>(body).map(Fact::from),
        _ => v2::fact(body),
    }
}

/// Reads a record.
pub(super) fn record(body: &[u8]) -> Result<Record, String> {
    match decode_start::<u32>(body)? {
        WITH_ROLES => decode_exact::<RolesRecord>(body).map(Record::from),
        _ => v2::record(body),
    }
}

#[derive(Deserialize)]
struct RolesFact {
    at: Timestamp,
    kind: RolesFactKind,
}

#[derive(Deserialize)]
enum RolesFactKind {
    ProjectDescribed { spec: ProjectSpec, head: Option<CommitId> },
}

#[derive(Deserialize)]
enum RolesRecord {
    Project(ProjectRecord),
}

#[derive(Deserialize)]
struct ProjectRecord {
    spec: ProjectSpec,
    paused: bool,
    head: Option<CommitId>,
    delivered: Option<CommitId>,
    delivery_blocked: Option<String>,
    plans: u32,
    merges: u64,
    spent: Vec<Spent>,
}

#[derive(Deserialize)]
struct ProjectSpec {
    name: ProjectName,
    source: Option<String>,
    base: Option<String>,
    integration: String,
    checks: Vec<String>,
    review: Review,
    resolver: Option<RoleName>,
    roles: Vec<RoleSpec>,
    profiles: Vec<Arc<Profile>>,
    budget_micros: Option<u64>,
}

#[derive(Deserialize)]
struct RoleSpec {
    name: RoleName,
    count: u32,
    command: Vec<String>,
    image: Option<Arc<str>>,
    secrets: Vec<String>,
    network: Network,
    limits: Limits,
    profile: Option<ProfileUse>,
    max_cost_micros: Option<u64>,
}

impl From<RolesFact> for Fact {
    fn from(fact: RolesFact) -> Self {
        let RolesFactKind::ProjectDescribed { spec, head } = fact.kind;
        v2::described(fact.at, spec.into(), head)
    }
}

impl From<RolesRecord> for Record {
    fn from(RolesRecord::Project(old): RolesRecord) -> Self {
        let ProjectRecord { spec, paused, head, delivered, delivery_blocked, plans, merges, spent } = old;
        let spec = spec.into();
        let next = v2::ProjectRecord { spec, paused, head, delivered, delivery_blocked, plans, merges, spent };
        Self::Project(next.into())
    }
}

impl From<ProjectSpec> for v2::ProjectSpec {
    fn from(old: ProjectSpec) -> Self {
        let ProjectSpec { name, source, base, integration, checks, review, resolver, roles, profiles, budget_micros } =
            old;
        let roles = roles.into_iter().map(Into::into).collect();
        Self { name, source, base, integration, checks, review, resolver, roles, profiles, budget_micros }
    }
}

impl From<RoleSpec> for v2::RoleSpec {
    fn from(old: RoleSpec) -> Self {
        let RoleSpec { name, count, command, image, secrets, network, limits, profile, max_cost_micros } = old;
        let labels = BTreeMap::new();
        Self { name, count, command, image, secrets, network, limits, profile, max_cost_micros, labels }
    }
}
