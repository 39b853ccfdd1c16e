//! What makes a plan invalid on any host: names, roles, sizes, dependencies, cycles.

use std::collections::{HashMap, HashSet};

use super::{add, upsert::Upsert};
use crate::{
    engine::{
        Engine,
        compose::{head, project_bytes, task_bytes},
        state::{Project, TaskIx},
    },
    graph::{self, Edges},
    ids::{CommitId, MAX_NAME, RoleName, TaskId},
    plan::{Executor, PlanSpec, RoleSpec, TaskSpec},
    record::Status,
    rejection::Problem,
};

impl Engine {
    pub(super) fn check_project(
        &self,
        plan: &PlanSpec,
        head: Option<CommitId>,
        existing: Option<&Project>,
        problems: &mut Vec<Problem>,
    ) {
        let spec = &plan.project;
        let mut roles: HashSet<&RoleName> = HashSet::new();
        for role in &spec.roles {
            if !roles.insert(&role.name) {
                add(problems, Problem::DuplicateRole(role.name.clone()));
            }
            if role.count == 0 {
                add(problems, Problem::EmptyRole(role.name.clone()));
            }
            // `free_agent` may skip names in use, so one digit is spare.
            let bytes = role.name.as_str().len() + role.count.to_string().len() + 1;
            if bytes > MAX_NAME {
                add(problems, Problem::RoleNameTooLong { role: role.name.clone(), bytes, max: MAX_NAME });
            }
        }
        if let Some(resolver) = spec.resolver.as_ref().filter(|r| !roles.contains(r)) {
            add(problems, Problem::UnknownResolver(resolver.clone()));
        }
        if !spec.checks.is_empty() && spec.roles.is_empty() {
            add(problems, Problem::ChecksWithoutRole);
        }
        for role in &spec.roles {
            if let Some(image) = &role.image {
                self.check_name(image, || format!("the image of role `{}`", role.name), problems);
            }
        }
        for profile in &spec.profiles {
            self.check_name(&profile.name, || "the name of a profile".to_owned(), problems);
            self.check_name(&profile.provider, || format!("the provider of profile `{}`", profile.name), problems);
        }
        let (bytes, max) = (project_bytes(spec), self.config.project_bytes);
        if bytes > max {
            add(problems, Problem::ProjectTooLarge { bytes, max });
        }
        let Some(project) = existing else {
            if spec.source.is_some() && head.is_none() {
                add(problems, Problem::NoHead);
            }
            return;
        };
        let old = &project.record.spec;
        let fixed = [
            ("repo", old.source != spec.source),
            ("base", old.base != spec.base),
            ("integration", old.integration != spec.integration),
        ];
        for (what, _) in fixed.into_iter().filter(|&(_, changed)| changed) {
            add(problems, Problem::ProjectFixed { project: spec.name.clone(), what });
        }
        if old.roles.iter().any(|role| !roles.contains(&role.name)) {
            self.check_roles_in_use(plan, project, &roles, problems);
        }
    }

    fn check_name(&self, name: &str, what: impl FnOnce() -> String, problems: &mut Vec<Problem>) {
        let (bytes, max) = (name.len(), self.config.name_bytes);
        if bytes > max {
            let what = head(&what(), 2 * MAX_NAME).to_owned();
            add(problems, Problem::NameTooLong { what, bytes, max });
        }
    }

    fn check_roles_in_use(
        &self,
        plan: &PlanSpec,
        project: &Project,
        roles: &HashSet<&RoleName>,
        problems: &mut Vec<Problem>,
    ) {
        let submitted: HashSet<&TaskId> = plan.tasks.iter().map(|t| &t.id).collect();
        let mut named = HashSet::new();
        for task in project.tasks.iter().map(|&ix| self.at(ix)).filter(|t| !t.status.is_terminal()) {
            // Tasks of the plan name the role themselves; a running task still has its old role.
            let role = match (&task.spec.executor, task.running()) {
                (_, Some(run)) => &run.role,
                (Executor::Agent(role), None) if !submitted.contains(&task.spec.id) => role,
                _ => continue,
            };
            if !roles.contains(role) && named.insert(role) {
                add(problems, Problem::RoleInUse { role: role.clone(), task: task.spec.id.clone() });
            }
        }
    }

    pub(super) fn check_tasks(&self, plan: &PlanSpec, existing: Option<&Project>, problems: &mut Vec<Problem>) {
        let roles: HashMap<&RoleName, &RoleSpec> = plan.project.roles.iter().map(|r| (&r.name, r)).collect();
        let mut ids: HashSet<&TaskId> = HashSet::with_capacity(plan.tasks.len());
        for task in &plan.tasks {
            if !ids.insert(&task.id) {
                add(problems, Problem::DuplicateTask(task.id.clone()));
            }
            self.check_task(task, &roles, problems);
        }
        if let Some((name, role)) = plan.project.resolver.as_ref().and_then(|r| roles.get_key_value(r))
            && role.command.is_empty()
        {
            add(problems, Problem::ResolverWithoutCommand((*name).clone()));
        }
        let known = existing.map_or(0, |p| plan.tasks.iter().filter(|t| p.by_id.contains_key(&t.id)).count());
        let (tasks, max) = (self.tasks.len() + plan.tasks.len() - known, self.config.tasks_max);
        if tasks > max {
            add(problems, Problem::TooManyTasks { tasks, max });
        }
    }

    fn check_task(&self, task: &TaskSpec, roles: &HashMap<&RoleName, &RoleSpec>, problems: &mut Vec<Problem>) {
        if let Executor::Agent(name) = &task.executor {
            let (task_id, role) = (task.id.clone(), name.clone());
            match roles.get(name) {
                None => add(problems, Problem::UnknownRole { task: task_id, role }),
                Some(spec) if spec.command.is_empty() && task.command.is_none() => {
                    add(problems, Problem::NoCommand { task: task_id, role });
                }
                Some(_) => {}
            }
        }
        if task.attempts == 0 {
            add(problems, Problem::NoAttempts(task.id.clone()));
        }
        let (bytes, max) = (task_bytes(task), self.config.task_bytes);
        if bytes > max {
            add(problems, Problem::TaskTooLarge { task: task.id.clone(), bytes, max });
        }
        let mut seen: HashSet<&TaskId> = HashSet::new();
        for dependency in &task.dependencies {
            if *dependency == task.id {
                add(problems, Problem::SelfDependency(task.id.clone()));
            } else if task.dependencies.len() > 1 && !seen.insert(dependency) {
                let (task, dependency) = (task.id.clone(), dependency.clone());
                add(problems, Problem::DuplicateDependency { task, dependency });
            }
        }
    }

    /// Names resolve first in the plan, then in the project; then there must be no cycle. Nodes are the plan's tasks
    /// and, after them, the project's unfinished tasks that they reach.
    pub(super) fn check_dependencies(
        &self,
        plan: &PlanSpec,
        upsert: &Upsert,
        existing: Option<&Project>,
        problems: &mut Vec<Problem>,
    ) {
        let mut nodes: HashMap<&str, u32> = HashMap::with_capacity(plan.tasks.len());
        nodes.extend(plan.tasks.iter().enumerate().map(|(n, task)| (task.id.as_str(), n as u32)));
        let mut outside: Vec<TaskIx> = Vec::new();
        let mut edges = Edges::with_capacity(plan.tasks.len());
        let mut targets = Vec::new();
        for (n, task) in plan.tasks.iter().enumerate() {
            let changes = upsert.existing(n).is_none_or(|ix| upsert.changes(ix));
            for dependency in &task.dependencies {
                let there = existing.and_then(|p| p.by_id.get(dependency).copied());
                if changes && there.is_some_and(|ix| self.at(ix).status == Status::Rejected) {
                    let (task, dependency) = (task.id.clone(), dependency.clone());
                    add(problems, Problem::RejectedDependency { task, dependency });
                } else if let Some(&node) = nodes.get(dependency.as_str()) {
                    targets.push(node);
                } else if let Some(ix) = there {
                    let node = (plan.tasks.len() + outside.len()) as u32;
                    nodes.insert(self.at(ix).spec.id.as_str(), node);
                    outside.push(ix);
                    targets.push(node);
                } else {
                    let (task, dependency) = (task.id.clone(), dependency.clone());
                    add(problems, Problem::MissingDependency { task, dependency });
                }
            }
            edges.push(targets.drain(..));
        }
        if !problems.is_empty() {
            return;
        }
        let mut next = 0;
        while let Some(&ix) = outside.get(next) {
            next += 1;
            for &dep in self.at(ix).deps.iter().filter(|&&d| !self.at(d).status.is_terminal()) {
                let new = (plan.tasks.len() + outside.len()) as u32;
                let node = *nodes.entry(self.at(dep).spec.id.as_str()).or_insert(new);
                if node == new {
                    outside.push(dep);
                }
                targets.push(node);
            }
            edges.push(targets.drain(..));
        }
        if let Some(members) = graph::cycle(&edges) {
            let id = |&node: &u32| match plan.tasks.get(node as usize) {
                Some(task) => task.id.clone(),
                None => self.at(outside[node as usize - plan.tasks.len()]).spec.id.clone(),
            };
            let cycle = members.iter().chain(members.first()).map(id).collect();
            add(problems, Problem::Cycle(cycle));
        }
    }
}
