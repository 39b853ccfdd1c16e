//! Tasks: lists, one task, its output and patch, and the actions of users.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use devstack_dag::{
    bounds::within,
    command::Command,
    ids::{ProjectName, Text},
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Api, paging, repos::stream};
use crate::{TaskFilter, TaskQuery};
use crate::{
    extract::{Bundle, Change, Key, OfTask, Params, name, task_ref},
    openapi::{Draft, Gives},
};
use devstack_api::{ApiError, ByteStream, bounds, dto, error::code};
use devstack_config::problem::Problem;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only tasks of this project.
    project: Option<String>,
    /// Only tasks in these statuses, separated by commas: `WIP,TESTING`.
    status: Option<String>,
    /// Only tasks of this role.
    role: Option<String>,
    /// Only tasks that this agent works on, or made the commit of.
    agent: Option<String>,
    /// Only tasks whose running attempt is on this host.
    host: Option<String>,
    /// `work` or `resolve`.
    kind: Option<String>,
    /// `agent` or `human`.
    executor: Option<String>,
    /// `critical`, `high`, `medium` or `low`.
    priority: Option<String>,
    /// Only tasks that are BLOCKED for this reason.
    blocked_reason: Option<String>,
    /// Only tasks with this text in their id or title, in any case.
    text: Option<String>,
    /// The `next` of the previous page: `project/id`.
    after: Option<String>,
    /// Entries of a page: 1 to 10,000; default 10,000.
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
}

impl ListQuery {
    fn read(self) -> Result<TaskQuery, ApiError> {
        let status = |word: &str| {
            let known: Vec<&str> = dto::STATUSES.iter().map(|status| status.as_str()).collect();
            dto::parse_status(word).ok_or_else(|| {
                ApiError::invalid(format!("`{word}` is not a status")).hint(format!("one of {}", known.join(", ")))
            })
        };
        one_of("kind", self.kind.as_deref(), &["work", "resolve"])?;
        one_of("executor", self.executor.as_deref(), &["agent", "human"])?;
        one_of("priority", self.priority.as_deref(), &["critical", "high", "medium", "low"])?;
        let words = self.status.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty());
        Ok(TaskQuery {
            project: self.project.map(|project| name(ProjectName::new(&project))).transpose()?,
            statuses: words.map(status).collect::<Result<_, _>>()?,
            filter: TaskFilter {
                role: self.role,
                agent: self.agent,
                host: self.host,
                kind: self.kind,
                executor: self.executor,
                priority: self.priority,
                blocked_reason: self.blocked_reason,
                text: self.text,
            },
            after: self.after.as_deref().map(task_ref).transpose()?,
            limit: paging::limit(self.limit)?,
        })
    }
}

/// Refuses a word that no task can have.
fn one_of(field: &str, word: Option<&str>, known: &[&str]) -> Result<(), ApiError> {
    match word.filter(|word| !known.contains(word)) {
        None => Ok(()),
        Some(word) => {
            let hint = format!("one of {}", known.join(", "));
            Err(ApiError::invalid(format!("`{field}` cannot be `{word}`")).hint(hint))
        }
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<dto::TaskList>, ApiError> {
    api.backend.tasks(query.read()?).await.map(Json)
}

pub(super) async fn show(State(api): State<Api>, OfTask(task): OfTask) -> Result<Json<dto::TaskPage>, ApiError> {
    Ok(Json(dto::TaskPage { api_version: dto::V1, task: api.backend.task(task).await? }))
}

pub(super) async fn explain(State(api): State<Api>, OfTask(task): OfTask) -> Result<Json<dto::Explanation>, ApiError> {
    let name = task.to_string();
    let text = api.backend.explain(task).await?;
    Ok(Json(dto::Explanation { api_version: dto::V1, task: name, text }))
}

pub(super) async fn prompt(State(api): State<Api>, OfTask(task): OfTask) -> Result<Json<dto::Prompt>, ApiError> {
    let name = task.to_string();
    let text = api.backend.prompt(task).await?;
    Ok(Json(dto::Prompt { api_version: dto::V1, task: name, text }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// The number of the attempt; default: the newest.
    attempt: Option<u32>,
    /// `?follow` and `?follow=true`: stream the output until the attempt ends.
    #[schema(pattern = "^(|true|false|0|1)$")]
    follow: Option<String>,
}

pub(super) async fn logs(
    State(api): State<Api>,
    OfTask(task): OfTask,
    Params(query): Params<LogsQuery>,
) -> Result<Log, ApiError> {
    let follow = match query.follow.as_deref() {
        None | Some("false" | "0") => false,
        Some("" | "true" | "1") => true,
        Some(other) => return Err(ApiError::invalid(format!("`follow` is `{other}`; it must be true or false"))),
    };
    api.backend.logs(task, query.attempt, follow).await.map(Log)
}

pub(super) async fn diff(State(api): State<Api>, OfTask(task): OfTask) -> Result<Patch, ApiError> {
    api.backend.diff(task).await.map(Patch)
}

/// The output of an attempt.
pub(super) struct Log(ByteStream);
/// A patch.
pub(super) struct Patch(ByteStream);

const LOG: &str = "text/plain; charset=utf-8";
const PATCH: &str = "text/x-diff; charset=utf-8";

impl IntoResponse for Log {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, LOG)], Body::from_stream(self.0)).into_response()
    }
}

impl IntoResponse for Patch {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, PATCH)], Body::from_stream(self.0)).into_response()
    }
}

impl Gives for Log {
    fn gives(draft: &mut Draft) {
        draft.gives(LOG, json!({ "type": "string", "description": "as the agent wrote it" }));
    }
}

impl Gives for Patch {
    fn gives(draft: &mut Draft) {
        draft.gives(PATCH, json!({ "type": "string", "description": "a patch" }));
    }
}

pub(super) async fn conflict(State(api): State<Api>, OfTask(task): OfTask) -> Result<Json<dto::Conflict>, ApiError> {
    api.backend.conflict(task).await.map(Json)
}

/// The body is a bundle up to the configured size. It is counted while it arrives, and never held in memory.
pub(super) async fn resolve(
    State(api): State<Api>,
    OfTask(task): OfTask,
    Key(request): Key,
    Bundle(body): Bundle,
) -> Result<Json<dto::Answer>, ApiError> {
    let (max, is_over) = (api.limits.bundle_size, Arc::new(AtomicBool::new(false)));
    let (mut left, over) = (max, is_over.clone());
    let counted = stream(body).map(move |chunk| {
        let chunk = chunk?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(|| {
            over.store(true, Ordering::Relaxed);
            io::Error::from(io::ErrorKind::FileTooLarge)
        })?;
        Ok(chunk)
    });
    let answer = api.backend.resolve(task, counted.boxed(), request).await;
    if is_over.load(Ordering::Relaxed) {
        let problem = Problem::new(code::TOO_LARGE, format!("the bundle is larger than the limit of {max} bytes"));
        let hint = "raise bundle_size in [limits] of the Taskmaster, or hand in less";
        return Err(ApiError::new(413, problem.hint(hint)));
    }
    answer.map(Json)
}

pub(super) async fn stop(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    api.backend.ask(Command::StopTask(task), change.request).await.map(Json)
}

pub(super) async fn approve(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    api.backend.ask(Command::ApproveTask(task), change.request).await.map(Json)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// A hint for the next attempt.
    #[serde(default, deserialize_with = "within::<bounds::Message, _, _>")]
    message: Option<String>,
}

pub(super) async fn retry(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change<Retry>,
) -> Result<Json<dto::Answer>, ApiError> {
    let Retry { message } = change.body;
    let message = message.map(|message| Text::Inline(message.into()));
    api.backend.ask(Command::RetryTask { task, message }, change.request).await.map(Json)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reject {
    /// The reason; at most 1 KiB.
    #[serde(default, deserialize_with = "within::<bounds::Reason, _, _>")]
    reason: Option<String>,
}

pub(super) async fn reject(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change<Reject>,
) -> Result<Json<dto::Answer>, ApiError> {
    let Reject { reason } = change.body;
    let reason = reason.unwrap_or_else(|| "rejected by a person".to_owned());
    api.backend.ask(Command::RejectTask { task, reason }, change.request).await.map(Json)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestChanges {
    /// The requested changes.
    #[schema(min_length = 1)]
    #[serde(deserialize_with = "within::<bounds::Message, _, _>")]
    message: String,
}

pub(super) async fn request_changes(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change<RequestChanges>,
) -> Result<Json<dto::Answer>, ApiError> {
    let RequestChanges { message } = change.body;
    if message.trim().is_empty() {
        return Err(ApiError::invalid("`message` is empty: describe the changes"));
    }
    let message = Text::Inline(message.into());
    api.backend.ask(Command::RequestChanges { task, message }, change.request).await.map(Json)
}
