//! Tasks: lists, one task, its output and patch, and what a person can do with it.

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use devstack_dag::{
    command::Command,
    ids::{ProjectName, TaskId, TaskRef, Text},
};
use futures::StreamExt;
use serde::Deserialize;

use super::Api;
use crate::gateway::{
    ApiError, ByteStream, RequestId, TaskQuery, dto,
    extract::{self, Change, OfTask, Params, name},
};

/// Tasks in one answer, unless asked for fewer: about 6 MB of JSON.
const PAGE: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    project: Option<String>,
    /// Comma-separated statuses.
    status: Option<String>,
    /// `project/id`.
    after: Option<String>,
    limit: Option<usize>,
}

impl ListQuery {
    fn read(self) -> Result<TaskQuery, ApiError> {
        let status = |word: &str| {
            let known: Vec<&str> = dto::STATUSES.iter().map(|status| status.as_str()).collect();
            dto::parse_status(word).ok_or_else(|| {
                ApiError::invalid(format!("`{word}` is no status")).hint(format!("one of {}", known.join(", ")))
            })
        };
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE).contains(&limit) {
            return Err(ApiError::invalid(format!("`limit` is {limit}; it must be 1 to {PAGE}")));
        }
        let words = self.status.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty());
        Ok(TaskQuery {
            project: self.project.map(|project| name(ProjectName::new(&project))).transpose()?,
            statuses: words.map(status).collect::<Result<_, _>>()?,
            after: self.after.as_deref().map(task_ref).transpose()?,
            limit,
        })
    }
}

/// `project/id`.
fn task_ref(text: &str) -> Result<TaskRef, ApiError> {
    let (project, id) =
        text.split_once('/').ok_or_else(|| ApiError::invalid(format!("`{text}` is not `project/id`")))?;
    Ok(TaskRef { project: name(ProjectName::new(project))?, id: name(TaskId::new(id))? })
}

pub(super) async fn list(
    State(api): State<Api>,
    Params(query): Params<ListQuery>,
) -> Result<Json<dto::TaskList>, ApiError> {
    let mut query = query.read()?;
    let limit = query.limit;
    // One more than asked for tells whether there are more.
    query.limit += 1;
    let mut tasks = api.backend.tasks(query).await?;
    let more = tasks.len() > limit;
    tasks.truncate(limit);
    let next = tasks.last().filter(|_| more).map(|task| format!("{}/{}", task.project, task.id));
    Ok(Json(dto::TaskList { api_version: dto::V1, tasks, next }))
}

pub(super) async fn show(State(api): State<Api>, OfTask(task): OfTask) -> Result<Json<dto::TaskPage>, ApiError> {
    Ok(Json(dto::TaskPage { api_version: dto::V1, task: api.backend.task(task).await? }))
}

pub(super) async fn explain(State(api): State<Api>, OfTask(task): OfTask) -> Result<Json<dto::Explanation>, ApiError> {
    let name = task.to_string();
    let text = api.backend.explain(task).await?;
    Ok(Json(dto::Explanation { api_version: dto::V1, task: name, text }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    attempt: Option<u32>,
    /// `?follow` and `?follow=true` follow.
    follow: Option<String>,
}

pub(super) async fn logs(
    State(api): State<Api>,
    OfTask(task): OfTask,
    Params(query): Params<LogsQuery>,
) -> Result<Response, ApiError> {
    let follow = match query.follow.as_deref() {
        None | Some("false" | "0") => false,
        Some("" | "true" | "1") => true,
        Some(other) => return Err(ApiError::invalid(format!("`follow` is `{other}`; it must be true or false"))),
    };
    let bytes = api.backend.logs(task, query.attempt, follow).await?;
    Ok(stream("text/plain; charset=utf-8", bytes))
}

pub(super) async fn diff(State(api): State<Api>, OfTask(task): OfTask) -> Result<Response, ApiError> {
    Ok(stream("text/x-diff; charset=utf-8", api.backend.diff(task).await?))
}

pub(super) async fn conflict(State(api): State<Api>, OfTask(task): OfTask) -> Result<Json<dto::Conflict>, ApiError> {
    api.backend.conflict(task).await.map(Json)
}

/// The body is a bundle, however large the configuration allows; it is never held in memory.
pub(super) async fn resolve(
    State(api): State<Api>,
    OfTask(task): OfTask,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<dto::Answer>, ApiError> {
    let request = extract::key(&headers)?.map(|key| RequestId { key, body_hash: [0; 32] });
    let mut left = api.limits.bundle_size;
    let bounded = body.into_data_stream().map(move |chunk| {
        let chunk = chunk.map_err(std::io::Error::other)?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::FileTooLarge, "the bundle is larger than [limits] bundle_size")
        })?;
        Ok(chunk)
    });
    api.backend.resolve(task, bounded.boxed(), request).await.map(Json)
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    message: Option<String>,
}

pub(super) async fn retry(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    let Retry { message } = change.json()?;
    let message = message.map(|message| Text::Inline(message.into()));
    api.backend.ask(Command::RetryTask { task, message }, change.request).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reject {
    reason: Option<String>,
}

/// The longest reason, in bytes: it stays in the task's record, which is at most 16 KiB.
const REASON_MAX: usize = 1 << 10;

pub(super) async fn reject(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    let Reject { reason } = change.json()?;
    let reason = reason.unwrap_or_else(|| "rejected by a person".to_owned());
    if reason.len() > REASON_MAX {
        return Err(ApiError::invalid(format!("the reason has {} bytes; at most {REASON_MAX} are kept", reason.len())));
    }
    api.backend.ask(Command::RejectTask { task, reason }, change.request).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestChanges {
    message: String,
}

pub(super) async fn request_changes(
    State(api): State<Api>,
    OfTask(task): OfTask,
    change: Change,
) -> Result<Json<dto::Answer>, ApiError> {
    let RequestChanges { message } = change.json()?;
    if message.trim().is_empty() {
        return Err(ApiError::invalid("`message` is empty: say what to change"));
    }
    let message = Text::Inline(message.into());
    api.backend.ask(Command::RequestChanges { task, message }, change.request).await.map(Json)
}

fn stream(kind: &'static str, bytes: ByteStream) -> Response {
    ([(CONTENT_TYPE, kind)], Body::from_stream(bytes)).into_response()
}
