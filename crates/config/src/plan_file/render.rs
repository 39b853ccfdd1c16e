//! Renders a [`PlanSpec`] in the shape of a plan file: as JSON, which the CLI posts and `plan show` prints, or as TOML
//! for `plan export`.
//! Deliberately absent: comments and the order of keys of the original file.

use devstack_dag::{
    ids::Text,
    plan::{Executor, Network, PlanSpec, Priority, RetryFrom, Review, RoleSpec, TaskSpec, VerifyOn},
};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::{
    profile::Rendered,
    units::{format_duration, format_size},
};

#[derive(Serialize)]
struct Plan<'a> {
    project: Project<'a>,
    agents: BTreeMap<&'a str, Role<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    profiles: BTreeMap<&'a str, Rendered<'a>>,
    task: Tasks<'a>,
}

#[derive(Serialize)]
struct Project<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<&'a [String]>,
    review: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolver: Option<&'a str>,
    /// Only a value other than the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    verify_on: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protected: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_template: Option<&'a str>,
}

#[derive(Serialize)]
struct Role<'a> {
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_turns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    secrets: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    network: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_disconnect: Option<String>,
}

#[derive(Serialize)]
struct Task<'a> {
    id: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    prompt: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dependencies: &'a [devstack_dag::ids::TaskId],
    priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a [Box<str>]>,
    timeout: String,
    grace: String,
    idle_timeout: String,
    attempts: u32,
    retry_from: &'static str,
    allow_empty: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mass_delete: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    may_change: &'a [Box<str>],
}

/// Renders tasks one at a time, so that 100,000 tasks are never held twice.
struct Tasks<'a>(&'a [TaskSpec]);

impl Serialize for Tasks<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(task))
    }
}

/// The plan as JSON that [`super::parse`] reads back to the same plan.
///
/// # Errors
/// A prompt is a blob: put its text back inline first.
pub fn to_json(plan: &PlanSpec) -> Result<Vec<u8>, PromptIsBlob> {
    // It cannot fail: map keys are strings and every number is finite.
    Ok(serde_json::to_vec(&rendered(plan)?).unwrap_or_default())
}

/// The plan as TOML that [`super::parse`] reads back to the same plan.
///
/// # Errors
/// As [`to_json`].
pub fn to_toml(plan: &PlanSpec) -> Result<String, PromptIsBlob> {
    // It cannot fail, as for JSON; missing values are left out.
    Ok(toml::to_string_pretty(&rendered(plan)?).unwrap_or_default())
}

fn rendered(plan: &PlanSpec) -> Result<Plan<'_>, PromptIsBlob> {
    let texts = plan.tasks.iter().map(|task| &task.prompt).chain(&plan.project.prompt_template);
    if texts.into_iter().any(|text| matches!(text, Text::Blob(..))) {
        return Err(PromptIsBlob);
    }
    let project = &plan.project;
    let with_repo = project.source.is_some();
    Ok(Plan {
        project: Project {
            name: project.name.as_str(),
            repo: project.source.as_deref(),
            base: project.base.as_deref(),
            integration: with_repo.then_some(project.integration.as_str()),
            checks: with_repo.then_some(project.checks.as_slice()),
            review: match project.review {
                Review::None => "none",
                Review::Human => "human",
            },
            resolver: project.resolver.as_ref().filter(|_| with_repo).map(|role| role.as_str()),
            verify_on: match project.verify_on {
                VerifyOn::Any => Some("any"),
                VerifyOn::OtherHost => None,
            },
            budget: project.budget_micros.map(dollars),
            protected: with_repo.then_some(project.protected.as_slice()),
            prompt_template: project.prompt_template.as_ref().map(inline),
        },
        agents: project.roles.iter().map(|it| (it.name.as_str(), role(it))).collect(),
        profiles: project.profiles.iter().map(|it| (&*it.name, Rendered(it))).collect(),
        task: Tasks(&plan.tasks),
    })
}

/// The text of a prompt or template is in a blob, not in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prompt of the plan is not inline; put its text back first")]
pub struct PromptIsBlob;

fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn role(role: &RoleSpec) -> Role<'_> {
    Role {
        count: role.count,
        // A profile defines the command.
        command: Some(role.command.as_slice()).filter(|words| !words.is_empty() && role.profile.is_none()),
        profile: role.profile.as_ref().map(|profile| &*profile.name),
        model: role.profile.as_ref().and_then(|profile| profile.model.as_deref()),
        max_turns: role.profile.as_ref().and_then(|profile| profile.max_turns),
        max_cost: role.max_cost_micros.map(dollars),
        image: role.image.as_deref(),
        secrets: &role.secrets,
        labels: &role.labels,
        network: match role.network {
            Network::None => "none",
            Network::Bridge => "bridge",
        },
        memory: role.limits.memory.map(format_size),
        cpus: role.limits.cpu_millis.map(|millis| f64::from(millis) / 1000.0),
        pids: role.limits.pids,
        max_disconnect: role.max_disconnect_ms.map(format_duration),
    }
}

fn task(task: &TaskSpec) -> Task<'_> {
    Task {
        id: task.id.as_str(),
        title: &task.title,
        prompt: inline(&task.prompt),
        dependencies: &task.dependencies,
        priority: priority(task.priority),
        role: match &task.executor {
            Executor::Agent(role) => Some(role.as_str()),
            Executor::Human => None,
        },
        executor: (task.executor == Executor::Human).then_some("human"),
        command: task.command.as_deref(),
        timeout: format_duration(task.timeout_ms),
        grace: format_duration(task.grace_ms),
        idle_timeout: format_duration(task.idle_timeout_ms),
        attempts: task.attempts,
        retry_from: match task.retry_from {
            RetryFrom::Last => "last",
            RetryFrom::Fresh => "fresh",
        },
        allow_empty: task.allow_empty,
        mass_delete: task.mass_delete,
        may_change: &task.may_change,
    }
}

fn inline(text: &Text) -> &str {
    match text {
        Text::Inline(text) => text,
        // `rendered` refuses blobs.
        Text::Blob(..) => "",
    }
}

/// The word for a priority in plans and in the API.
pub fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => "critical",
        Priority::High => "high",
        Priority::Medium => "medium",
        Priority::Low => "low",
    }
}
