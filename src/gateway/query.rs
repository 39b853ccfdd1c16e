//! What is asked of lists: filters, where a page begins, how long it may be.
//! Deliberately absent: how it is asked (the routes read it) and where it is looked up (the views).

use devstack_dag::{
    ids::{ProjectName, TaskId, TaskRef},
    record::Status,
};

use super::dto;

/// Entries of a page, unless asked for fewer, and the most: about 6 MB of JSON.
pub const PAGE: usize = 10_000;

/// Which tasks to list, by project and in the order of their submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQuery {
    /// Only of this project.
    pub project: Option<ProjectName>,
    /// Only in these statuses; empty: all.
    pub statuses: Vec<Status>,
    /// Only those that this lets through.
    pub filter: TaskFilter,
    /// Only behind this one.
    pub after: Option<TaskRef>,
    /// At most so many.
    pub limit: usize,
}

impl Default for TaskQuery {
    /// The first page of all tasks.
    fn default() -> Self {
        Self { project: None, statuses: Vec::new(), filter: TaskFilter::default(), after: None, limit: PAGE }
    }
}

/// What a task must be like; `None`: it does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Its role.
    pub role: Option<String>,
    /// Who works on it, or made its commit.
    pub agent: Option<String>,
    /// Where its running attempt is.
    pub host: Option<String>,
    /// `work` or `resolve`.
    pub kind: Option<String>,
    /// `agent` or `human`.
    pub executor: Option<String>,
    /// `critical`, `high`, `medium` or `low`.
    pub priority: Option<String>,
    /// Why it is BLOCKED.
    pub blocked_reason: Option<String>,
    /// In its id or title, in any case.
    pub text: Option<String>,
}

impl TaskFilter {
    /// Does it let this task through?
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

/// Which entries of the numbered lists of projects: plans, merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedQuery {
    /// Only of this project.
    pub project: Option<ProjectName>,
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only behind this number of this project.
    pub after: Option<(ProjectName, u64)>,
    /// At most so many.
    pub limit: usize,
}

impl Default for NumberedQuery {
    /// The first page of all.
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
