//! Tasks, attempts, conflicts.
//! Deliberately absent: prompts in lists: only one task's own page has them.

use devstack_dag::{
    attempt,
    plan::Executor,
    record::{AttemptRecord, TaskRecord},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Branch, Time, V1, words};
use crate::config::plan_file::priority;

/// A task in `task list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Unique in the project: `T-001`.
    pub id: String,
    /// The project.
    pub project: String,
    /// `work` or `resolve`.
    pub kind: String,
    /// One line for people.
    pub title: String,
    /// Where it stands.
    #[schema(value_type = words::StatusWord)]
    pub status: String,
    /// Why it is BLOCKED.
    pub blocked_reason: Option<String>,
    /// The role that does it; `null` for a person's task.
    pub role: Option<String>,
    /// `agent` or `human`.
    pub executor: String,
    /// Who works on it, or made its commit.
    pub agent: Option<String>,
    /// Where its running attempt is.
    pub host: Option<String>,
    /// Does nobody know how its running attempt is, because that host is silent?
    pub unknown: bool,
    /// Attempts started.
    pub attempts: u32,
    /// `critical`, `high`, `medium` or `low`.
    pub priority: String,
    /// Ids of the same project.
    pub dependencies: Vec<String>,
    /// The blocked task that this one resolves; `null` also for a conflict with the source, which blocks no task.
    pub resolves: Option<String>,
    /// The resolution task that completed this one.
    pub resolved_by: Option<String>,
    /// The agent's branch.
    pub branch: Option<String>,
    /// The newest harvested commit.
    pub commit: Option<String>,
    /// The merge commit that completed it.
    pub merge_commit: Option<String>,
    /// When the source got it.
    pub delivered_at: Option<Time>,
    /// When it was submitted.
    pub created_at: Time,
    /// When anything last changed.
    pub updated_at: Time,
}

impl Task {
    /// A record as the API shows it. `newest` is the task's newest attempt, if there is one; `unknown`: see
    /// [`devstack_dag::Engine::is_unknown`] of that.
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
    /// As in the list.
    #[serde(flatten)]
    pub task: Task,
    /// What the agent is told.
    pub prompt: String,
    /// Why it is BLOCKED or REJECTED, in a sentence.
    pub reason: Option<String>,
    /// Why it is ready and does not start although there may be room: a parked provider, or money.
    pub held_back: Option<String>,
    /// What earlier attempts and people said, oldest first.
    pub feedback: Vec<Feedback>,
    /// Every attempt kept, oldest first.
    pub attempt_list: Vec<Attempt>,
}

/// What an agent is told about the past of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Feedback {
    /// The attempt it is about; 0: a person's hint.
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
    /// Who.
    pub agent: String,
    /// In which role.
    pub role: String,
    /// Where.
    pub host: String,
    /// The image it ran in: `name@sha256:…`; `null`: the runtime has no images.
    pub image: Option<String>,
    /// `done`, `failed`, `timed-out`, `stalled`, `out-of-memory`, `out-of-disk`, `out-of-processes`, `stopped`, `try-again-later`, `infrastructure`,
    /// `policy`, `rate-limited`; `null`: it runs.
    pub outcome: Option<String>,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// Does nobody know how it is, because its host is silent?
    pub unknown: bool,
    /// What is known beyond the outcome.
    pub message: Option<String>,
    /// Did it cost the task one of its attempts?
    pub charged: bool,
    /// Its harvested commit.
    pub commit: Option<String>,
    /// When it was ordered.
    pub started_at: Time,
    /// When its report was accepted.
    pub ended_at: Option<Time>,
    /// Model usage, if the agent reported any.
    pub usage: Option<Usage>,
    /// What it left in its workspace and could not be taken into its result.
    #[serde(default)]
    pub harvest_skipped: Vec<Skipped>,
    /// So many more could not be taken.
    #[serde(default)]
    pub harvest_skipped_more: u32,
    /// Other branches with commits of its own; kept in the hub, and not merged.
    #[serde(default)]
    pub branches: Vec<Branch>,
}

/// Something that could not be taken into a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// Where, in the workspace; `.git`: its repository was destroyed.
    pub path: String,
    /// Why.
    pub why: String,
}

impl Attempt {
    /// A record as the API shows it.
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

/// Model usage of one attempt, as its agent says. Unknown is `null`, never 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
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
    /// Turns.
    pub turns: Option<u32>,
    /// The agent's own name for the conversation.
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
    /// Why it is where it is, in a paragraph.
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
    /// What the agent of its next attempt reads, to the byte.
    pub text: String,
}

/// `GET /v1/tasks/{project}/{id}/resolve`: what a person needs to do a task by hand, whichever of the two tasks of a
/// conflict was named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: V1,
    /// The task that the result is for, `project/id`.
    pub task: String,
    /// The blocked task, `project/id`; `null` for a person's own task, and for a conflict with the source.
    pub resolves: Option<String>,
    /// The hub: a path on the node's host, which is the caller's host too.
    pub hub: String,
    /// The branch to work on.
    pub branch: String,
    /// The integration head now: what a person starts from.
    pub ours: String,
    /// What the result must build upon: the head may move on while a person works.
    pub base: String,
    /// The blocked commit, or the source's, which it must contain too; `null` for a person's own task.
    pub theirs: Option<String>,
    /// Conflicting paths.
    pub paths: Vec<String>,
    /// Git's messages and the prompts of both sides, or the task's prompt.
    pub text: String,
}
