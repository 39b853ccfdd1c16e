//! Builders shared by the tests: names, plans, roles.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use devstack_dag::{
    ids::{AttemptId, CommitId, HostName, ProjectName, RoleName, TaskId, TaskRef, Text},
    plan::{
        Executor, Limits, Network, PlanSpec, Priority, ProfileUse, ProjectSpec, RetryFrom, Review, RoleSpec, TaskSpec,
        VerifyOn,
    },
    profile::{Profile, PromptBy, Reading, Setting},
};

pub fn project_name(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

pub fn host_name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// A task of the project `p`.
pub fn task_ref(id: &str) -> TaskRef {
    TaskRef { project: project_name("p"), id: TaskId::new(id).unwrap() }
}

pub fn attempt_id(id: &str, number: u32) -> AttemptId {
    AttemptId { task: task_ref(id), number }
}

/// A commit named by a number.
pub fn commit(number: u64) -> CommitId {
    let mut id = [0; 20];
    id[12..].copy_from_slice(&number.to_be_bytes());
    CommitId(id)
}

pub fn role(name: &str, count: u32) -> RoleSpec {
    RoleSpec {
        name: RoleName::new(name).unwrap(),
        count,
        command: vec!["run".into(), name.into()],
        image: None,
        secrets: Vec::new(),
        network: Network::None,
        limits: Limits::default(),
        profile: None,
        max_cost_micros: None,
        labels: Default::default(),
        max_disconnect_ms: None,
    }
}

/// A profile of this provider.
pub fn profile(name: &str, provider: &str) -> Arc<Profile> {
    Arc::new(Profile {
        name: name.into(),
        provider: provider.into(),
        command: ["agent".into(), "{model}".into()].into(),
        arguments: [(Setting::Model, ["--model".into(), "{model}".into()].into())].into(),
        prompt: PromptBy::Stdin,
        env: [].into(),
        secrets: [].into(),
        secret_files: [].into(),
        endpoints: [].into(),
        reading: Reading::default(),
        prices: [].into(),
    })
}

/// Lets the roles of a plan use a profile.
pub fn uses(plan: &mut PlanSpec, profile: Arc<Profile>, roles: &[&str]) {
    for role in plan.project.roles.iter_mut().filter(|role| roles.contains(&role.name.as_str())) {
        role.profile = Some(ProfileUse { name: profile.name.clone(), model: None, max_turns: None });
    }
    plan.project.profiles.push(profile);
}

pub fn task(id: &str, dependencies: &[&str]) -> TaskSpec {
    TaskSpec {
        id: TaskId::new(id).unwrap(),
        title: format!("Title of {id}").into(),
        prompt: Text::empty(),
        dependencies: dependencies.iter().map(|d| TaskId::new(d).unwrap()).collect(),
        priority: Priority::Medium,
        executor: Executor::Agent(RoleName::new("dev").unwrap()),
        command: None,
        timeout_ms: 60_000,
        grace_ms: 1_000,
        idle_timeout_ms: 30_000,
        attempts: 3,
        retry_from: RetryFrom::Last,
        allow_empty: false,
        mass_delete: false,
        may_change: Box::default(),
    }
}

/// The project `p` with two `dev` agents and no repository.
pub fn plan(tasks: Vec<TaskSpec>) -> PlanSpec {
    let project = ProjectSpec {
        name: project_name("p"),
        source: None,
        base: None,
        integration: "dev".into(),
        checks: Vec::new(),
        review: Review::None,
        resolver: None,
        roles: vec![role("dev", 2)],
        profiles: Vec::new(),
        budget_micros: None,
        protected: Vec::new(),
        verify_on: VerifyOn::Any,
        prompt_template: None,
    };
    PlanSpec { project, tasks }
}

/// The same with a repository.
pub fn repo_plan(tasks: Vec<TaskSpec>) -> PlanSpec {
    let mut plan = plan(tasks);
    plan.project.source = Some("/src".into());
    plan
}
