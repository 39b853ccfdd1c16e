//! Plans, projects, agents, merges, the overview, facts.
//! Deliberately absent: the values of secrets; only their names exist here.

use std::collections::BTreeMap;

use devstack_dag::record::{MergeRecord, PlanRecord, ProviderRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Host, Time, V1, dollars};

/// The answer to `POST /v1/plans`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanAnswer {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The project.
    pub project: String,
    /// The plan's number in the project.
    pub plan: u32,
    /// Tasks added.
    pub added: u32,
    /// Changed tasks that had not started.
    pub updated: u32,
    /// Changed BLOCKED tasks, with a new budget of attempts.
    pub retried: u32,
    /// Unchanged tasks.
    pub unchanged: u32,
    /// Warnings, for example about uncommitted changes in the repository.
    pub warnings: Vec<String>,
}

/// The answer to every other change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// Whether anything changed.
    pub changed: bool,
    /// A sentence: `one gets attempts again`.
    pub message: String,
}

/// A submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// Counts from 1 in the project.
    pub number: u32,
    /// The number of tasks added.
    pub added: u32,
    /// The number of tasks changed.
    pub updated: u32,
    /// Whether the submission was cancelled.
    pub cancelled: bool,
    /// The time of submission.
    pub created_at: Time,
}

impl From<&PlanRecord> for Plan {
    fn from(record: &PlanRecord) -> Self {
        Self {
            project: record.project.to_string(),
            number: record.number,
            added: record.added,
            updated: record.updated,
            cancelled: record.cancelled,
            created_at: record.at.into(),
        }
    }
}

/// A project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// The name.
    pub name: String,
    /// Path or URL of the user's repository.
    pub source: Option<String>,
    /// The integration branch; `null` without a repository.
    pub integration: Option<String>,
    /// The last confirmed head of the integration branch.
    pub head: Option<String>,
    /// The head that was delivered to the user's repository.
    pub delivered: Option<String>,
    /// Why delivery waits: for a person, for the resolution of a conflict with the repository, or for an unreachable
    /// repository.
    pub delivery_blocked: Option<String>,
    /// Whether the project is paused: it starts no attempts.
    pub paused: bool,
    /// The number of submissions.
    pub plans: u32,
    /// The number of tasks in each status; every status is present.
    pub tasks: BTreeMap<String, u64>,
    /// The limit on the cost of all attempts, in US dollars.
    pub budget_usd: Option<f64>,
    /// The usage of all attempts so far.
    pub usage: Spent,
    /// The same by role, for roles with usage or a limit.
    pub roles: Vec<RoleSpent>,
}

/// The usage of finished attempts in total, as reported by agents. Unknown is `null`, never 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spent {
    /// Finished attempts of roles that report usage or have a limit.
    pub attempts: u32,
    /// The number of these attempts that did not report their cost.
    pub unknown_cost: u32,
    /// Input tokens, without tokens from or to a cache.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// Tokens read from the cache.
    pub cache_read_tokens: Option<u64>,
    /// Tokens written to the cache.
    pub cache_write_tokens: Option<u64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
}

/// The usage of a role of a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoleSpent {
    /// The role.
    pub role: String,
    /// The profile of the role.
    pub profile: Option<String>,
    /// The limit on the cost, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// The usage.
    pub usage: Spent,
}

impl Spent {
    /// Adds another usage.
    pub fn and(self, more: &devstack_dag::record::Spent) -> Self {
        fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            }
        }
        Self {
            attempts: self.attempts + more.attempts,
            unknown_cost: self.unknown_cost + more.unknown,
            input_tokens: sum(self.input_tokens, more.input_tokens),
            output_tokens: sum(self.output_tokens, more.output_tokens),
            cache_read_tokens: sum(self.cache_read_tokens, more.cache_read_tokens),
            cache_write_tokens: sum(self.cache_write_tokens, more.cache_write_tokens),
            cost_usd: sum(self.cost_usd, more.cost_micros.map(dollars)),
        }
    }
}

/// A provider of models that was parked and has not worked since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// The name in the profiles.
    pub provider: String,
    /// The end of the parking: no attempt of this provider starts before; `null`: the provider can be used again.
    pub parked_until: Option<Time>,
    /// How many times in a row the provider was parked.
    pub times: u32,
    /// The reason.
    pub reason: String,
}

impl From<&ProviderRecord> for Provider {
    fn from(record: &ProviderRecord) -> Self {
        Self {
            provider: record.provider.to_string(),
            parked_until: record.until.map(Time::from),
            times: record.times,
            reason: record.reason.to_string(),
        }
    }
}

/// `GET /v1/projects/{project}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectPage {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The project.
    pub project: Project,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// `dev1`.
    pub name: String,
    /// The project.
    pub project: String,
    /// The role.
    pub role: String,
    /// The branch; `null` without a repository.
    pub branch: Option<String>,
    /// The host of the running attempt.
    pub host: Option<String>,
    /// The task in progress; `null`: idle.
    pub task: Option<String>,
    /// The number of the attempt.
    pub attempt: Option<u32>,
    /// `work` or `check`.
    pub stage: Option<String>,
    /// The start of the attempt.
    pub since: Option<Time>,
}

/// A completed merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Merge {
    /// `project/id`.
    pub task: String,
    /// The attempt's commit.
    pub commit: String,
    /// The merge commit.
    pub merge_commit: String,
    /// The time of confirmation.
    pub at: Time,
}

impl From<&MergeRecord> for Merge {
    fn from(record: &MergeRecord) -> Self {
        Self {
            task: record.attempt.task.to_string(),
            commit: record.commit.to_string(),
            merge_commit: record.candidate.to_string(),
            at: record.at.into(),
        }
    }
}

/// A task or project that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// The project.
    pub project: String,
    /// `project/id`; `null`: the project itself.
    pub task: Option<String>,
    /// The status of the task.
    #[schema(value_type = Option<super::StatusWord>)]
    pub status: Option<String>,
    /// The reason if the task is BLOCKED.
    pub blocked_reason: Option<String>,
    /// The reason in a sentence.
    pub why: String,
    /// The command of the next step.
    pub command: String,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The number of tasks in each status; every status is present.
    pub tasks: BTreeMap<String, u64>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The number of hosts in each presence; every word is present.
    pub hosts_by_presence: BTreeMap<String, u64>,
    /// The number of slots of all hosts.
    pub slots: u64,
    /// The number of running attempts.
    pub running: u32,
    /// The number of running attempts whose state is unknown, because their hosts are silent.
    pub unknown: u32,
    /// Tasks and projects that wait for a person.
    pub waiting: Vec<Waiting>,
    /// Projects whose delivery is blocked, with the reason.
    pub deliveries: Vec<DeliveryWaits>,
    /// Parked providers of models.
    pub providers: Vec<Provider>,
    /// The usage of all attempts so far.
    pub usage: Spent,
}

/// A blocked delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryWaits {
    /// The project.
    pub project: String,
    /// The reason in a sentence.
    pub why: String,
}

/// `GET /v1/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// Whether all tasks of the query are COMPLETED. If not, none of them can continue without a person.
    pub completed: bool,
    /// The number of tasks of the query.
    pub tasks: u64,
    /// What waits for a person; empty if all are completed.
    pub waiting: Vec<Waiting>,
}

/// `GET /v1/facts` as a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FactList {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// Oldest first. A page with filters can be shorter than requested, even empty, although more pages follow.
    pub facts: Vec<Fact>,
    /// The `after` of the next page; `null`: there are no more facts for now.
    pub next: Option<String>,
    /// All facts up to this number were searched: use it as `after` for later facts.
    pub through: u64,
    /// The number of the newest fact.
    pub last: u64,
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// The number.
    pub seq: u64,
    /// The time.
    pub at: Time,
    /// The kind, in stable words: `task-moved`, `attempt-started`, …
    pub kind: String,
    /// The project of the fact.
    pub project: Option<String>,
    /// The task's id in the project.
    pub task: Option<String>,
    /// The number of the attempt.
    pub attempt: Option<u32>,
    /// The status of the task after the fact, if it changed.
    #[schema(value_type = Option<super::StatusWord>)]
    pub status: Option<String>,
    /// A sentence about the fact, without its project and task.
    pub message: String,
}
