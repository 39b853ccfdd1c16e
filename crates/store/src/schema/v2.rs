//! The types of version 2, frozen: tasks and projects had no protected paths, hosts had no pinned claims, and attempts
//! left only their result. Only the types that differ from version 3 are here; all others read as in version 3.
//! Deliberately absent: writing.

use std::{collections::BTreeMap, sync::Arc};

use devstack_dag::{
    attempt::{Conflict, Feedback, Outcome, Stage, Start, Usage},
    fact::{Fact, FactKind},
    ids::{AgentName, AttemptId, CommitId, HostName, MergeId, ProjectName, RoleName, TaskId, TaskRef, Text, Timestamp},
    plan::{self, Executor, Limits, Network, Priority, ProfileUse, RetryFrom, Review, VerifyOn},
    profile::Profile,
    record::{self, BlockedReason, Drain, Kind, Record, Spent, Status},
};
use serde::Deserialize;

use super::{decode_exact, decode_start};

/// Numbers of the variants of [`FactKind`] that contain a task or a project.
mod fact_kind {
    pub(super) const PROJECT_DESCRIBED: u32 = 0;
    pub(super) const TASKS_ADDED: u32 = 1;
    pub(super) const TASK_UPDATED: u32 = 2;
    pub(super) const CONFLICT_FOUND: u32 = 22;
    pub(super) const SOURCE_CONFLICTED: u32 = 28;
}

/// Numbers of the variants of [`Record`] that differ.
mod record_kind {
    pub(super) const PROJECT: u32 = 0;
    pub(super) const TASK: u32 = 2;
    pub(super) const ATTEMPT: u32 = 3;
    pub(super) const HOST_INTENT: u32 = 7;
}

/// Reads a fact. A variant is written as its number and then its fields, so a struct that begins with the number can
/// read it.
pub(super) fn fact(body: &[u8]) -> Result<Fact, String> {
    match decode_start::<(Timestamp, u32)>(body)?.1 {
        fact_kind::PROJECT_DESCRIBED => decode_exact::<ProjectDescribed>(body).map(Fact::from),
        fact_kind::TASKS_ADDED => decode_exact::<TasksAdded>(body).map(Fact::from),
        fact_kind::TASK_UPDATED => decode_exact::<TaskUpdated>(body).map(Fact::from),
        fact_kind::CONFLICT_FOUND => decode_exact::<ConflictFound>(body).map(Fact::from),
        fact_kind::SOURCE_CONFLICTED => decode_exact::<SourceConflicted>(body).map(Fact::from),
        _ => decode_exact(body),
    }
}

/// Reads a record.
pub(super) fn record(body: &[u8]) -> Result<Record, String> {
    match decode_start::<u32>(body)? {
        record_kind::PROJECT => decode_exact::<(u32, ProjectRecord)>(body).map(|(_, old)| Record::Project(old.into())),
        record_kind::TASK => decode_exact::<(u32, TaskRecord)>(body).map(|(_, old)| Record::Task(Box::new(old.into()))),
        record_kind::ATTEMPT => {
            decode_exact::<(u32, AttemptRecord)>(body).map(|(_, old)| Record::Attempt(Box::new(old.into())))
        }
        record_kind::HOST_INTENT => {
            decode_exact::<(u32, HostIntentRecord)>(body).map(|(_, old)| Record::HostIntent(old.into()))
        }
        _ => decode_exact(body),
    }
}

#[derive(Deserialize)]
struct ProjectDescribed {
    at: Timestamp,
    _kind: u32,
    spec: ProjectSpec,
    head: Option<CommitId>,
}

#[derive(Deserialize)]
struct TasksAdded {
    at: Timestamp,
    _kind: u32,
    project: ProjectName,
    plan: u32,
    tasks: Vec<TaskSpec>,
}

#[derive(Deserialize)]
struct TaskUpdated {
    at: Timestamp,
    _kind: u32,
    project: ProjectName,
    spec: TaskSpec,
}

#[derive(Deserialize)]
struct ConflictFound {
    at: Timestamp,
    _kind: u32,
    task: TaskRef,
    resolution: TaskSpec,
    conflict: Box<Conflict>,
}

#[derive(Deserialize)]
struct SourceConflicted {
    at: Timestamp,
    _kind: u32,
    project: ProjectName,
    resolution: TaskSpec,
    conflict: Box<Conflict>,
}

/// A project; version 1 converts to this type.
#[derive(Deserialize)]
pub(super) struct ProjectSpec {
    pub(super) name: ProjectName,
    pub(super) source: Option<String>,
    pub(super) base: Option<String>,
    pub(super) integration: String,
    pub(super) checks: Vec<String>,
    pub(super) review: Review,
    pub(super) resolver: Option<RoleName>,
    pub(super) roles: Vec<RoleSpec>,
    pub(super) profiles: Vec<Arc<Profile>>,
    pub(super) budget_micros: Option<u64>,
}

/// A role; version 1 converts to this type.
#[derive(Deserialize)]
pub(super) struct RoleSpec {
    pub(super) name: RoleName,
    pub(super) count: u32,
    pub(super) command: Vec<String>,
    pub(super) image: Option<Arc<str>>,
    pub(super) secrets: Vec<String>,
    pub(super) network: Network,
    pub(super) limits: Limits,
    pub(super) profile: Option<ProfileUse>,
    pub(super) max_cost_micros: Option<u64>,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TaskSpec {
    id: TaskId,
    title: Box<str>,
    prompt: Text,
    dependencies: Box<[TaskId]>,
    priority: Priority,
    executor: Executor,
    command: Option<Box<[Box<str>]>>,
    timeout_ms: u64,
    grace_ms: u64,
    idle_timeout_ms: u64,
    attempts: u32,
    retry_from: RetryFrom,
    allow_empty: bool,
}

/// A project's record; version 1 converts to this type.
#[derive(Deserialize)]
pub(super) struct ProjectRecord {
    pub(super) spec: ProjectSpec,
    pub(super) paused: bool,
    pub(super) head: Option<CommitId>,
    pub(super) delivered: Option<CommitId>,
    pub(super) delivery_blocked: Option<String>,
    pub(super) plans: u32,
    pub(super) merges: u64,
    pub(super) spent: Vec<Spent>,
}

#[derive(Deserialize)]
struct TaskRecord {
    project: ProjectName,
    seq: u32,
    spec: TaskSpec,
    kind: Kind,
    plan: u32,
    status: Status,
    blocked: Option<(BlockedReason, Box<str>)>,
    rejected: Option<Box<str>>,
    attempts: u32,
    charged: u32,
    uncharged: u32,
    limited: u32,
    backoff_ms: Option<u64>,
    harvested: Option<(u32, CommitId)>,
    agent: Option<AgentName>,
    candidate: Option<(CommitId, CommitId)>,
    approved_at: Option<Timestamp>,
    merging: Option<MergeId>,
    merge_commit: Option<CommitId>,
    resolved_by: Option<TaskId>,
    feedback: Vec<Feedback>,
    delivered_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct AttemptRecord {
    attempt: AttemptId,
    stage: Stage,
    host: HostName,
    agent: AgentName,
    role: RoleName,
    start: Start,
    image: Option<Arc<str>>,
    stopping: bool,
    outcome: Option<Outcome>,
    charged: bool,
    commit: Option<CommitId>,
    usage: Option<Usage>,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct HostIntentRecord {
    host: HostName,
    drain: Drain,
}

/// The fact that a project was described, in any version.
pub(super) fn described(at: Timestamp, spec: ProjectSpec, head: Option<CommitId>) -> Fact {
    Fact { at, kind: FactKind::ProjectDescribed { spec: spec.into(), head } }
}

impl From<ProjectDescribed> for Fact {
    fn from(ProjectDescribed { at, spec, head, .. }: ProjectDescribed) -> Self {
        described(at, spec, head)
    }
}

impl From<TasksAdded> for Fact {
    fn from(TasksAdded { at, project, plan, tasks, .. }: TasksAdded) -> Self {
        let tasks = tasks.into_iter().map(|task| Arc::new(task.into())).collect();
        Self { at, kind: FactKind::TasksAdded { project, plan, tasks } }
    }
}

impl From<TaskUpdated> for Fact {
    fn from(TaskUpdated { at, project, spec, .. }: TaskUpdated) -> Self {
        Self { at, kind: FactKind::TaskUpdated { project, spec: Arc::new(spec.into()) } }
    }
}

impl From<ConflictFound> for Fact {
    fn from(ConflictFound { at, task, resolution, conflict, .. }: ConflictFound) -> Self {
        Self { at, kind: FactKind::ConflictFound { task, resolution: Arc::new(resolution.into()), conflict } }
    }
}

impl From<SourceConflicted> for Fact {
    fn from(SourceConflicted { at, project, resolution, conflict, .. }: SourceConflicted) -> Self {
        Self { at, kind: FactKind::SourceConflicted { project, resolution: Arc::new(resolution.into()), conflict } }
    }
}

impl From<ProjectRecord> for record::ProjectRecord {
    fn from(old: ProjectRecord) -> Self {
        let ProjectRecord { spec, paused, head, delivered, delivery_blocked, plans, merges, spent } = old;
        Self { spec: spec.into(), paused, head, delivered, delivery_blocked, plans, merges, spent }
    }
}

impl From<ProjectSpec> for plan::ProjectSpec {
    fn from(old: ProjectSpec) -> Self {
        Self {
            name: old.name,
            source: old.source,
            base: old.base,
            integration: old.integration,
            checks: old.checks,
            review: old.review,
            resolver: old.resolver,
            roles: old.roles.into_iter().map(Into::into).collect(),
            profiles: old.profiles,
            budget_micros: old.budget_micros,
            protected: Vec::new(),
            verify_on: VerifyOn::Any,
            prompt_template: None,
        }
    }
}

impl From<RoleSpec> for plan::RoleSpec {
    fn from(old: RoleSpec) -> Self {
        Self {
            name: old.name,
            count: old.count,
            command: old.command,
            image: old.image,
            secrets: old.secrets,
            network: old.network,
            limits: old.limits,
            profile: old.profile,
            max_cost_micros: old.max_cost_micros,
            labels: old.labels,
            max_disconnect_ms: None,
        }
    }
}

impl From<TaskSpec> for plan::TaskSpec {
    fn from(old: TaskSpec) -> Self {
        Self {
            id: old.id,
            title: old.title,
            prompt: old.prompt,
            dependencies: old.dependencies,
            priority: old.priority,
            executor: old.executor,
            command: old.command,
            timeout_ms: old.timeout_ms,
            grace_ms: old.grace_ms,
            idle_timeout_ms: old.idle_timeout_ms,
            attempts: old.attempts,
            retry_from: old.retry_from,
            allow_empty: old.allow_empty,
            mass_delete: false,
            may_change: Box::default(),
        }
    }
}

impl From<TaskRecord> for record::TaskRecord {
    fn from(old: TaskRecord) -> Self {
        Self {
            project: old.project,
            seq: old.seq,
            spec: Arc::new(old.spec.into()),
            kind: old.kind,
            plan: old.plan,
            status: old.status,
            blocked: old.blocked,
            rejected: old.rejected,
            attempts: old.attempts,
            charged: old.charged,
            uncharged: old.uncharged,
            limited: old.limited,
            backoff_ms: old.backoff_ms,
            harvested: old.harvested,
            agent: old.agent,
            candidate: old.candidate,
            approved_at: old.approved_at,
            merging: old.merging,
            merge_commit: old.merge_commit,
            resolved_by: old.resolved_by,
            feedback: old.feedback,
            delivered_at: old.delivered_at,
            created_at: old.created_at,
            updated_at: old.updated_at,
            held: None,
            summary: None,
            stalls: 0,
        }
    }
}

impl From<AttemptRecord> for record::AttemptRecord {
    fn from(old: AttemptRecord) -> Self {
        Self {
            attempt: old.attempt,
            stage: old.stage,
            host: old.host,
            agent: old.agent,
            role: old.role,
            start: old.start,
            image: old.image,
            stopping: old.stopping,
            outcome: old.outcome,
            charged: old.charged,
            commit: old.commit,
            usage: old.usage,
            started_at: old.started_at,
            ended_at: old.ended_at,
            left: None,
        }
    }
}

impl From<HostIntentRecord> for record::HostIntentRecord {
    fn from(HostIntentRecord { host, drain }: HostIntentRecord) -> Self {
        Self { host, drain: Some(drain), pins: None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn bytes(row: impl serde::Serialize) -> Vec<u8> {
        bincode::serde::encode_to_vec(row, super::super::ROW).unwrap()
    }

    /// The bytes of a task's description as version 2 wrote them; the golden files do not contain every kind of fact
    /// with a task.
    fn old_task() -> impl serde::Serialize {
        let prompt = Text::Inline("do it".into());
        let start = (TaskId::new("T-1").unwrap(), "Title", prompt, Vec::<TaskId>::new());
        let who = (Priority::High, Executor::Human, Option::<Vec<String>>::None);
        (start, who, (1_u64, 2_u64, 3_u64, 4_u32, RetryFrom::Fresh, true))
    }

    fn new_task() -> Arc<plan::TaskSpec> {
        Arc::new(plan::TaskSpec {
            id: TaskId::new("T-1").unwrap(),
            title: "Title".into(),
            prompt: Text::Inline("do it".into()),
            dependencies: Box::default(),
            priority: Priority::High,
            executor: Executor::Human,
            command: None,
            timeout_ms: 1,
            grace_ms: 2,
            idle_timeout_ms: 3,
            attempts: 4,
            retry_from: RetryFrom::Fresh,
            allow_empty: true,
            mass_delete: false,
            may_change: Box::default(),
        })
    }

    fn conflict() -> Box<Conflict> {
        let commit = CommitId([1; 20]);
        Box::new(Conflict { ours: commit, theirs: commit, base: commit, paths: Vec::new(), text: Text::empty() })
    }

    #[test]
    fn every_fact_with_a_task_in_it_is_read() {
        let at = Timestamp(5);
        let project = ProjectName::new("shop").unwrap();
        let task = TaskRef { project: project.clone(), id: TaskId::new("T-0").unwrap() };
        let (spec, resolution) = (new_task(), new_task());
        let read = |kind| Ok(Fact { at, kind });
        let body = bytes((at, fact_kind::TASKS_ADDED, &project, 7_u32, (1_u8, old_task())));
        let added = FactKind::TasksAdded { project: project.clone(), plan: 7, tasks: vec![new_task()] };
        assert_eq!(fact(&body), read(added));
        let body = bytes((at, fact_kind::TASK_UPDATED, &project, old_task()));
        assert_eq!(fact(&body), read(FactKind::TaskUpdated { project: project.clone(), spec }));
        let body = bytes((at, fact_kind::CONFLICT_FOUND, &task, old_task(), conflict()));
        let found = FactKind::ConflictFound { task, resolution: resolution.clone(), conflict: conflict() };
        assert_eq!(fact(&body), read(found));
        let body = bytes((at, fact_kind::SOURCE_CONFLICTED, &project, old_task(), conflict()));
        assert_eq!(fact(&body), read(FactKind::SourceConflicted { project, resolution, conflict: conflict() }));
    }

    #[test]
    fn what_people_want_of_a_host_is_read() {
        let (host, drain) = (HostName::new("h").unwrap(), Drain { since: Timestamp(1), deadline_ms: Some(2) });
        let body = bytes((record_kind::HOST_INTENT, &host, drain));
        let new = record::HostIntentRecord { host, drain: Some(drain), pins: None };
        assert_eq!(record(&body), Ok(Record::HostIntent(new)));
    }
}
