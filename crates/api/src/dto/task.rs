//! Tasks, attempts, conflicts.
//! Deliberately absent: prompts in lists: only the page of one task has them.

use devstack_dag::{
    attempt,
    plan::Executor,
    record::{AttemptRecord, TaskRecord},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Branch, Time, V1, words};
use devstack_config::plan_file::priority;

/// A task in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Unique in the project: `T-001`.
    pub id: String,
    /// The project.
    pub project: String,
    /// `work` or `resolve`.
    pub kind: String,
    /// The title, in one line.
    pub title: String,
    /// The status.
    #[schema(value_type = words::StatusWord)]
    pub status: String,
    /// The reason if the task is BLOCKED.
    pub blocked_reason: Option<String>,
    /// The role; `null` for a manual task.
    pub role: Option<String>,
    /// `agent` or `human`.
    pub executor: String,
    /// The agent that works on the task, or made its commit.
    pub agent: Option<String>,
    /// The host of the running attempt.
    pub host: Option<String>,
    /// Whether the state of the running attempt is unknown because its host is silent.
    pub unknown: bool,
    /// The number of attempts started.
    pub attempts: u32,
    /// `critical`, `high`, `medium` or `low`.
    pub priority: String,
    /// Ids of tasks of the same project.
    pub dependencies: Vec<String>,
    /// The blocked task that this task resolves; `null` for a conflict with the user's repository, which blocks no
    /// task.
    pub resolves: Option<String>,
    /// The resolution task that completed this one.
    pub resolved_by: Option<String>,
    /// The branch of the agent.
    pub branch: Option<String>,
    /// The newest harvested commit.
    pub commit: Option<String>,
    /// The merge commit of the task.
    pub merge_commit: Option<String>,
    /// The time of delivery to the user's repository.
    pub delivered_at: Option<Time>,
    /// The time of submission.
    pub created_at: Time,
    /// The time of the last change.
    pub updated_at: Time,
}

impl Task {
    /// Converts a record to the API's form. `newest` is the newest attempt of the task, if there is one; `unknown` is
    /// [`devstack_dag::Engine::is_unknown`] of that attempt.
    pub fn from_record(record: &TaskRecord, newest: Option<&AttemptRecord>, unknown: bool) -> Self {
        let running = newest.filter(|attempt| attempt.outcome.is_none());
        let agent =
            running.map(|attempt| &attempt.agent).or(record.agent.as_ref()).or(newest.map(|attempt| &attempt.agent));
        let (role, executor) = match &record.spec.executor {
            Executor::Agent(role) => (Some(role.to_string()), "agent"),
            Executor::Human => (None, "human"),
        };
        let kind = if record.kind.conflict().is_some() { "resolve" } else { "work" };
        Self {
            id: record.spec.id.to_string(),
            project: record.project.to_string(),
            kind: kind.to_owned(),
            title: record.spec.title.to_string(),
            status: record.status.to_string(),
            blocked_reason: record.blocked.as_ref().map(|(reason, _)| reason.to_string()),
            role,
            executor: executor.to_owned(),
            agent: agent.map(ToString::to_string),
            host: running.map(|attempt| attempt.host.to_string()),
            unknown,
            attempts: record.attempts,
            priority: priority(record.spec.priority).to_owned(),
            dependencies: record.spec.dependencies.iter().map(ToString::to_string).collect(),
            resolves: record.kind.resolves().map(ToString::to_string),
            resolved_by: record.resolved_by.as_ref().map(ToString::to_string),
            branch: record.harvested.as_ref().and(record.agent.as_ref()).map(|agent| format!("feat/{agent}")),
            commit: record.harvested.as_ref().map(|(_, commit)| commit.to_string()),
            merge_commit: record.merge_commit.as_ref().map(ToString::to_string),
            delivered_at: record.delivered_at.map(Time::from),
            created_at: record.created_at.into(),
            updated_at: record.updated_at.into(),
        }
    }
}

/// `GET /v1/tasks/{project}/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The task.
    pub task: TaskDetail,
}

/// Everything about a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The task, as in the list.
    #[serde(flatten)]
    pub task: Task,
    /// The prompt.
    pub prompt: String,
    /// Why the task is BLOCKED or REJECTED, in a sentence.
    pub reason: Option<String>,
    /// Why a ready task does not start although slots may be free: a parked provider, or a budget.
    pub held_back: Option<String>,
    /// Feedback from earlier attempts and people, oldest first.
    pub feedback: Vec<Feedback>,
    /// All kept attempts, oldest first.
    pub attempt_list: Vec<Attempt>,
}

/// Feedback for the agent of the next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Feedback {
    /// The attempt of the feedback; 0: a hint of a person.
    pub attempt: u32,
    /// The text.
    pub text: String,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Counts from 1 in the task.
    pub number: u32,
    /// `work` or `check`.
    pub stage: String,
    /// The agent.
    pub agent: String,
    /// The role.
    pub role: String,
    /// The host.
    pub host: String,
    /// The image: `name@sha256:…`; `null`: the runtime has no images.
    pub image: Option<String>,
    /// `done`, `failed`, `timed-out`, `stalled`, `out-of-memory`, `out-of-disk`, `out-of-processes`, `stopped`,
    /// `try-again-later`, `infrastructure`, `policy`, `rate-limited`; `null`: still running.
    pub outcome: Option<String>,
    /// The exit code of the command.
    pub exit_code: Option<i32>,
    /// Whether the state is unknown because the host is silent.
    pub unknown: bool,
    /// Details of the outcome.
    pub message: Option<String>,
    /// Whether the attempt counts against the task's limit of attempts.
    pub charged: bool,
    /// The harvested commit.
    pub commit: Option<String>,
    /// The time of the order.
    pub started_at: Time,
    /// The time when the report was accepted.
    pub ended_at: Option<Time>,
    /// Model usage, if the agent reported it.
    pub usage: Option<Usage>,
    /// Paths in the workspace that could not be taken into the result.
    #[serde(default)]
    pub harvest_skipped: Vec<Skipped>,
    /// The number of further paths that could not be taken.
    #[serde(default)]
    pub harvest_skipped_more: u32,
    /// Other branches with commits of their own; kept in the hub, and not merged.
    #[serde(default)]
    pub branches: Vec<Branch>,
}

/// A path that could not be taken into a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The path in the workspace; `.git`: the repository was destroyed.
    pub path: String,
    /// The reason.
    pub why: String,
}

impl Attempt {
    /// Converts a record to the API's form.
    pub fn from_record(record: &AttemptRecord, unknown: bool) -> Self {
        let (outcome, exit_code, message) = match record.outcome.as_ref().map(words::outcome) {
            Some((word, exit_code, message)) => (Some(word.to_owned()), exit_code, message),
            None => (None, None, None),
        };
        let left = record.left.as_deref().cloned().unwrap_or_default();
        Self {
            number: record.attempt.number,
            stage: words::stage(record.stage).to_owned(),
            agent: record.agent.to_string(),
            role: record.role.to_string(),
            host: record.host.to_string(),
            image: record.image.as_deref().map(str::to_owned),
            outcome,
            exit_code,
            unknown,
            message,
            charged: record.charged,
            commit: record.commit.as_ref().map(ToString::to_string),
            started_at: record.started_at.into(),
            ended_at: record.ended_at.map(Time::from),
            usage: record.usage.as_ref().map(Usage::from),
            harvest_skipped: left.skipped.iter().map(Skipped::from).collect(),
            harvest_skipped_more: left.more,
            branches: left.branches.iter().map(Branch::from).collect(),
        }
    }
}

impl From<&attempt::Skipped> for Skipped {
    fn from(one: &attempt::Skipped) -> Self {
        Self { path: one.path.to_string(), why: one.why.to_string() }
    }
}

impl From<&attempt::Branch> for Branch {
    fn from(branch: &attempt::Branch) -> Self {
        Self { name: branch.name.to_string(), commit: branch.commit.to_string() }
    }
}

/// Model usage of one attempt, as reported by its agent. Unknown is `null`, never 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
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
    /// Turns.
    pub turns: Option<u32>,
    /// The agent's id of the conversation.
    pub session: Option<String>,
}

impl From<&devstack_dag::attempt::Usage> for Usage {
    fn from(usage: &devstack_dag::attempt::Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            cost_usd: usage.cost_micros.map(words::dollars),
            turns: usage.turns,
            session: usage.session.as_ref().map(ToString::to_string),
        }
    }
}

/// `GET /v1/tasks/{project}/{id}/explain`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// `project/id`.
    pub task: String,
    /// Explains the state of the task in a paragraph.
    pub text: String,
}

/// `GET /v1/tasks/{project}/{id}/prompt`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Prompt {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// `project/id`.
    pub task: String,
    /// The exact prompt of the next attempt.
    pub text: String,
}

/// `GET /v1/tasks/{project}/{id}/resolve`: what a person needs to complete a task by hand. Either task of a conflict
/// can be named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The task that the result completes, `project/id`.
    pub task: String,
    /// The blocked task, `project/id`; `null` for a manual task, and for a conflict with the user's repository.
    pub resolves: Option<String>,
    /// The hub: a path on the host of the node, which is also the caller's host.
    pub hub: String,
    /// The branch for the work.
    pub branch: String,
    /// The current integration head, from which a person starts.
    pub ours: String,
    /// The commit that the result must contain; the head can move on while a person works.
    pub base: String,
    /// The blocked commit, or the commit of the user's repository, which the result must contain too; `null` for a
    /// manual task.
    pub theirs: Option<String>,
    /// Conflicting paths.
    pub paths: Vec<String>,
    /// Git's messages and the prompts of both sides, or the task's prompt.
    pub text: String,
}
