//! Renders a project as Dev_Stack's `tasks.json`, with the state of each task.
//! Deliberately absent: what that format cannot represent. The exporting command reports it.

use devstack_dag::plan::Priority;

use super::{Brief, json::Json};

/// The current state of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its id.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// The prompt of the agent.
    pub prompt: String,
    /// The priority.
    pub priority: Priority,
    /// The tasks that must be completed first.
    pub dependencies: Vec<String>,
    /// `TODO` … `REJECTED`.
    pub status: String,
    /// The agent that works on it or has done it; `None`: none yet.
    pub agent: Option<String>,
    /// The executor: a role, or `human`.
    pub role: String,
    /// Why it is BLOCKED.
    pub blocked_reason: Option<String>,
    /// The agent's branch.
    pub branch: Option<String>,
    /// Attempts started.
    pub attempts: u32,
    /// The newest harvested commit.
    pub commit: Option<String>,
    /// The merge commit that completed it.
    pub merge_commit: Option<String>,
    /// When it was created; RFC 3339.
    pub created: String,
    /// When it last changed; RFC 3339.
    pub updated: String,
}

/// Dev_Stack's word for a priority. Dev_Stack does not know `Critical`, but does not check it.
pub fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => "Critical",
        Priority::High => "High",
        Priority::Medium => "Medium",
        Priority::Low => "Low",
    }
}

/// The day of a time.
fn day(time: &str) -> Json {
    Json::text(time.split('T').next().unwrap_or_default())
}

/// The acceptance criteria of a brief.
pub(super) fn criteria(brief: &Brief) -> Json {
    let one = |(at, criterion): (usize, &super::Criterion)| {
        Json::Object(vec![
            ("id".to_owned(), Json::Number((at + 1).into())),
            ("description".to_owned(), Json::text(&criterion.text)),
            ("completed".to_owned(), Json::Bool(criterion.done)),
        ])
    };
    Json::List(brief.criteria.iter().enumerate().map(one).collect())
}

/// Renders a task.
pub fn task(live: &Live) -> Json {
    let brief = Brief::of(&live.prompt);
    let completed = if live.status == "COMPLETED" { day(&live.updated) } else { Json::Null };
    let fields = [
        ("id", Json::text(&live.id)),
        ("title", Json::text(&live.title)),
        ("status", Json::text(&live.status)),
        ("assigned", Json::text(live.agent.as_ref().unwrap_or(&live.role))),
        ("priority", Json::text(priority_word(live.priority))),
        ("created", day(&live.created)),
        ("completed", completed),
        ("dependencies", Json::List(live.dependencies.iter().map(Json::text).collect())),
        ("description", Json::text(&brief.description)),
        ("acceptance_criteria", criteria(&brief)),
        ("technical_notes", Json::text(&brief.notes)),
        ("blocked_reason", Json::maybe(live.blocked_reason.as_ref())),
        ("branch", Json::maybe(live.branch.as_ref())),
        ("attempts", Json::Number(live.attempts.into())),
        ("commit", Json::maybe(live.commit.as_ref())),
        ("merge_commit", Json::maybe(live.merge_commit.as_ref())),
        ("updated", Json::text(&live.updated)),
    ];
    Json::Object(fields.map(|(key, value)| (key.to_owned(), value)).into())
}

/// Renders the whole list. `day`: `YYYY-MM-DD`.
pub fn document(project: &str, tasks: &[Live], day: &str) -> Json {
    let metadata = [("project", project), ("last_updated", day), ("maintained_by", "devstack")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), Json::text(value)));
    Json::Object(vec![
        ("tasks".to_owned(), Json::List(tasks.iter().map(task).collect())),
        ("backlog".to_owned(), Json::List(Vec::new())),
        ("metadata".to_owned(), Json::Object(metadata.into())),
    ])
}
