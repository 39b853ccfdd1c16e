//! Queries of lists: filters, the start of a page, and its length.
//! Deliberately absent: parsing (the routes do it) and the lookup (the views do it).

use devstack_dag::{
    ids::{ProjectName, TaskId, TaskRef},
    record::Status,
};

use devstack_api::dto;

/// The default and maximum number of entries of a page: about 6 MB of JSON.
pub const PAGE: usize = 10_000;

/// Selects tasks, by project and in the order of submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQuery {
    /// Only tasks of this project.
    pub project: Option<ProjectName>,
    /// Only tasks in these statuses; empty: all.
    pub statuses: Vec<Status>,
    /// Only tasks that match this filter.
    pub filter: TaskFilter,
    /// Only tasks after this one.
    pub after: Option<TaskRef>,
    /// The maximum number of tasks.
    pub limit: usize,
}

impl Default for TaskQuery {
    /// The first page of all tasks.
    fn default() -> Self {
        Self { project: None, statuses: Vec::new(), filter: TaskFilter::default(), after: None, limit: PAGE }
    }
}

/// Conditions for a task; `None`: no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// The role.
    pub role: Option<String>,
    /// The agent that works on the task, or made its commit.
    pub agent: Option<String>,
    /// The host of the running attempt.
    pub host: Option<String>,
    /// `work` or `resolve`.
    pub kind: Option<String>,
    /// `agent` or `human`.
    pub executor: Option<String>,
    /// `critical`, `high`, `medium` or `low`.
    pub priority: Option<String>,
    /// The reason why the task is BLOCKED.
    pub blocked_reason: Option<String>,
    /// Text in the id or title, in any case.
    pub text: Option<String>,
}

impl TaskFilter {
    /// Whether a task matches the filter.
    pub fn admits(&self, task: &dto::Task) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| match wanted {
            None => true,
            Some(wanted) => found == Some(wanted.as_str()),
        };
        let says = |text: &str| {
            let text = text.to_lowercase();
            [&task.id, &task.title].into_iter().any(|field| field.to_lowercase().contains(&text))
        };
        is(&self.role, task.role.as_deref())
            && is(&self.agent, task.agent.as_deref())
            && is(&self.host, task.host.as_deref())
            && is(&self.kind, Some(&task.kind))
            && is(&self.executor, Some(&task.executor))
            && is(&self.priority, Some(&task.priority))
            && is(&self.blocked_reason, task.blocked_reason.as_deref())
            && self.text.as_deref().is_none_or(says)
    }
}

/// Selects entries of the numbered lists of projects: plans, merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedQuery {
    /// Only entries of this project.
    pub project: Option<ProjectName>,
    /// Only entries of this task.
    pub task: Option<TaskId>,
    /// Only entries after this number of this project.
    pub after: Option<(ProjectName, u64)>,
    /// The maximum number of entries.
    pub limit: usize,
}

impl Default for NumberedQuery {
    /// The first page of all entries.
    fn default() -> Self {
        Self { project: None, task: None, after: None, limit: PAGE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names() {
        let task = dto::Task {
            id: "T-1".into(),
            project: "shop".into(),
            kind: "work".into(),
            title: "Login API".into(),
            status: "WIP".into(),
            blocked_reason: None,
            role: Some("dev".into()),
            executor: "agent".into(),
            agent: Some("dev1".into()),
            host: Some("box".into()),
            unknown: false,
            attempts: 1,
            priority: "high".into(),
            dependencies: Vec::new(),
            resolves: None,
            resolved_by: None,
            branch: None,
            commit: None,
            merge_commit: None,
            delivered_at: None,
            created_at: dto::Time(0),
            updated_at: dto::Time(0),
        };
        let admits = |filter: TaskFilter| filter.admits(&task);
        let some = |text: &str| Some(text.to_owned());
        assert!(admits(TaskFilter::default()));
        assert!(admits(TaskFilter { role: some("dev"), agent: some("dev1"), host: some("box"), ..Default::default() }));
        assert!(admits(TaskFilter { text: some("LOGIN"), kind: some("work"), ..Default::default() }));
        for refused in [
            TaskFilter { role: some("senior"), ..Default::default() },
            TaskFilter { agent: some("dev2"), ..Default::default() },
            TaskFilter { host: some("bo"), ..Default::default() },
            TaskFilter { kind: some("resolve"), ..Default::default() },
            TaskFilter { executor: some("human"), ..Default::default() },
            TaskFilter { priority: some("low"), ..Default::default() },
            TaskFilter { blocked_reason: some("conflict"), ..Default::default() },
            TaskFilter { text: some("logout"), ..Default::default() },
        ] {
            assert!(!admits(refused.clone()), "{refused:?}");
        }
    }
}
