//! Plans, projects, agents, merges, the whole at a glance, facts.
//! Deliberately absent: secrets' values; only their names exist here.

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
    /// Tasks changed that had not started.
    pub updated: u32,
    /// BLOCKED tasks changed and given a new budget.
    pub retried: u32,
    /// Tasks left alone.
    pub unchanged: u32,
    /// What a person should know, for example uncommitted changes in the source.
    pub warnings: Vec<String>,
}

/// The answer to every other change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// Did it change anything, or was it so already?
    pub changed: bool,
    /// In a sentence: `shop/T-001 is retried`.
    pub message: String,
}

/// A submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// Counts from 1 in the project.
    pub number: u32,
    /// Tasks it added.
    pub added: u32,
    /// Tasks it changed.
    pub updated: u32,
    /// Was it cancelled?
    pub cancelled: bool,
    /// When it came.
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
    /// Its name.
    pub name: String,
    /// Path or URL of the person's repository.
    pub source: Option<String>,
    /// The integration branch; `null` without a repository.
    pub integration: Option<String>,
    /// Its head, as proven last.
    pub head: Option<String>,
    /// The head that the source has.
    pub delivered: Option<String>,
    /// Why delivery waits: for a person, for the resolution of a conflict with the source, or for a source that cannot
    /// be reached.
    pub delivery_blocked: Option<String>,
    /// Starts no attempts.
    pub paused: bool,
    /// Submissions so far.
    pub plans: u32,
    /// How many tasks are in each status; every status is there.
    pub tasks: BTreeMap<String, u64>,
    /// What its attempts may cost together, in US dollars.
    pub budget_usd: Option<f64>,
    /// What its attempts used so far.
    pub usage: Spent,
    /// The same by role, of those that used something or have a limit.
    pub roles: Vec<RoleSpent>,
}

/// What finished attempts used, summed: what their agents say. Unknown is `null`, never 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spent {
    /// Attempts that ended, of roles that say what they use or have a limit.
    pub attempts: u32,
    /// Those of them that did not say what they cost.
    pub unknown_cost: u32,
    /// Tokens read, without those from or to a cache.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Tokens read from the cache.
    pub cache_read_tokens: Option<u64>,
    /// Tokens read and written to the cache.
    pub cache_write_tokens: Option<u64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
}

/// What a role of a project used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoleSpent {
    /// The role.
    pub role: String,
    /// Its profile.
    pub profile: Option<String>,
    /// What it may cost, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// What it used.
    pub usage: Spent,
}

impl Spent {
    /// With these added.
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

/// A provider of models that wanted no more, and did not serve since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// Its name, as profiles give it.
    pub provider: String,
    /// Nothing is started at it before; `null`: it may be asked again.
    pub parked_until: Option<Time>,
    /// How often in a row it was parked.
    pub times: u32,
    /// What it said.
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
    /// Its project.
    pub project: String,
    /// Its role.
    pub role: String,
    /// Its branch; `null` without a repository.
    pub branch: Option<String>,
    /// Where it works.
    pub host: Option<String>,
    /// What it works on; `null`: idle.
    pub task: Option<String>,
    /// The attempt's number.
    pub attempt: Option<u32>,
    /// `work` or `check`.
    pub stage: Option<String>,
    /// Since when.
    pub since: Option<Time>,
}

/// A landed merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Merge {
    /// `project/id`.
    pub task: String,
    /// The attempt's commit.
    pub commit: String,
    /// The merge commit.
    pub merge_commit: String,
    /// When it was proven.
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

/// Something that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// The project.
    pub project: String,
    /// `project/id`; `null`: the project itself.
    pub task: Option<String>,
    /// The task's status.
    #[schema(value_type = Option<super::StatusWord>)]
    pub status: Option<String>,
    /// Why it is BLOCKED, if it is.
    pub blocked_reason: Option<String>,
    /// What it waits for, in a sentence.
    pub why: String,
    /// The command that moves it.
    pub command: String,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// How many tasks are in each status; every status is there.
    pub tasks: BTreeMap<String, u64>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// How many hosts have each presence; every word is there.
    pub hosts_by_presence: BTreeMap<String, u64>,
    /// Room of all hosts.
    pub slots: u64,
    /// Attempts running.
    pub running: u32,
    /// Those of them that nobody knows about, because their hosts are silent.
    pub unknown: u32,
    /// What waits for a person.
    pub waiting: Vec<Waiting>,
    /// Sources that are not brought up to date, and why.
    pub deliveries: Vec<DeliveryWaits>,
    /// Providers of models that wanted no more.
    pub providers: Vec<Provider>,
    /// What the attempts of all projects used so far.
    pub usage: Spent,
}

/// A source that is not brought up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryWaits {
    /// The project.
    pub project: String,
    /// What it waits for, in a sentence.
    pub why: String,
}

/// `GET /v1/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// Everything asked about is COMPLETED. If not, nothing of it can move without a person.
    pub completed: bool,
    /// How many tasks were asked about.
    pub tasks: u64,
    /// What waits for a person; empty when completed.
    pub waiting: Vec<Waiting>,
}

/// `GET /v1/facts` as a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FactList {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// Oldest first. With filters the page may be shorter than asked for, even empty, and still have a next one.
    pub facts: Vec<Fact>,
    /// The next page's `after`; `null`: there is no more for now.
    pub next: Option<String>,
    /// Every fact up to this number was looked at: `after` for what comes later.
    pub through: u64,
    /// The newest fact there is.
    pub last: u64,
}

/// A fact, as readers get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// What happened, in stable words: `task-moved`, `attempt-started`, …
    pub kind: String,
    /// The project it is about.
    pub project: Option<String>,
    /// The task's id in the project.
    pub task: Option<String>,
    /// The attempt's number.
    pub attempt: Option<u32>,
    /// The task's status after it, if it changed.
    #[schema(value_type = Option<super::StatusWord>)]
    pub status: Option<String>,
    /// In a sentence for people.
    pub message: String,
}
