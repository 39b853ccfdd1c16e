//! The API's view of the engine: pure functions from [`Engine`] to answers. Long texts come through `text`, which reads
//! blobs, because the engine never looks inside.
//! Deliberately absent: waiting, durability, and anything the engine does not know (sandboxes, logs, patches).

mod answer;
mod fact;
mod glance;
mod host;
mod page;
mod picture;
mod queue;

use std::collections::{BTreeMap, BTreeSet};

use devstack_dag::{
    Counts, Engine, Rejection, Waiting,
    ids::{ProjectName, RoleName, TaskRef, Text},
    plan::PlanSpec,
    prompt::{Brief, compose},
    record::{AttemptRecord, ProjectRecord, Status, TaskRecord},
};

use super::{ApiError, WaitQuery, dto};
pub use answer::{answer, plan_answer};
pub use fact::fact;
pub use glance::{board, glance};
pub use host::{details, host, hosts};
pub use page::{merges, plans, tasks};
pub use picture::{graph, timeline};
pub use queue::merge_queues;

/// Reads a text, inline or from a blob.
pub type ReadText<'a> = &'a dyn Fn(&Text) -> Result<String, ApiError>;

/// The maximum number of idle agents listed for a role; more would be noise.
const IDLE_LISTED: u32 = 64;

/// The engine's data of a task.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The task.
    pub record: TaskRecord,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// See [`Engine::held_back`].
    pub held_back: Option<String>,
    /// See [`Engine::is_unknown`], for the newest attempt.
    pub unknown: bool,
}

/// Reads the data of a task, for [`detail`] to show where texts can be read.
///
/// # Errors
/// The task does not exist.
pub fn task(engine: &Engine, task: &TaskRef) -> Result<Seen, ApiError> {
    let record = engine.task(task).ok_or_else(|| Rejection::UnknownTask(task.clone()))?;
    let attempts = engine.attempts(task).to_vec();
    let unknown = attempts.last().is_some_and(|newest| engine.is_unknown(newest));
    Ok(Seen { record, attempts, held_back: engine.held_back(task), unknown })
}

/// Everything about one task.
///
/// # Errors
/// A text cannot be read.
pub fn detail(seen: &Seen, text: ReadText<'_>) -> Result<dto::TaskDetail, ApiError> {
    let Seen { record, attempts, unknown, .. } = seen;
    let feedback = |feedback: &devstack_dag::attempt::Feedback| {
        Ok::<_, ApiError>(dto::Feedback { attempt: feedback.attempt, text: text(&feedback.text)? })
    };
    let reason = record.blocked.as_ref().map(|(_, why)| why).or(record.rejected.as_ref()).or(record.held.as_ref());
    Ok(dto::TaskDetail {
        task: dto::Task::from_record(record, attempts.last(), *unknown),
        prompt: text(&record.spec.prompt)?,
        reason: reason.map(ToString::to_string),
        held_back: seen.held_back.clone(),
        feedback: record.feedback.iter().map(feedback).collect::<Result<_, _>>()?,
        // Only the newest can be running.
        attempt_list: attempts
            .iter()
            .map(|one| dto::Attempt::from_record(one, *unknown && one.outcome.is_none()))
            .collect(),
    })
}

/// Reads the data of a task's next prompt, for [`prompt`] to compose where texts can be read.
///
/// # Errors
/// The task does not exist.
pub fn brief(engine: &Engine, task: &TaskRef) -> Result<Brief, ApiError> {
    Ok(engine.brief(task).ok_or_else(|| Rejection::UnknownTask(task.clone()))?)
}

/// The prompt of a task's next attempt.
///
/// # Errors
/// A text cannot be read.
pub fn prompt(brief: &Brief, text: ReadText<'_>) -> Result<String, ApiError> {
    Ok(compose(brief, text)?.text)
}

/// Explains the state of a task.
///
/// # Errors
/// The task does not exist.
pub fn explain(engine: &Engine, task: &TaskRef) -> Result<String, ApiError> {
    Ok(engine.explain(task).ok_or_else(|| Rejection::UnknownTask(task.clone()))?)
}

/// The tasks of a project as a plan, with prompts as stored ([`inline`] reads them). Resolution tasks belong to
/// devstack and are left out.
///
/// # Errors
/// The project does not exist.
pub fn plan(engine: &Engine, project: &ProjectName) -> Result<PlanSpec, ApiError> {
    let known = engine.project(project).ok_or_else(|| Rejection::UnknownProject(project.clone()))?;
    let work = engine.tasks(project).filter(|record| record.kind == devstack_dag::record::Kind::Work);
    Ok(PlanSpec { project: known.spec.clone(), tasks: work.map(|record| (*record.spec).clone()).collect() })
}

/// Makes every prompt of a plan inline.
///
/// # Errors
/// A text cannot be read.
pub fn inline(mut plan: PlanSpec, text: ReadText<'_>) -> Result<PlanSpec, ApiError> {
    for task in &mut plan.tasks {
        task.prompt = Text::Inline(text(&task.prompt)?.into());
    }
    let template = plan.project.prompt_template.take();
    plan.project.prompt_template = template.map(|it| Ok::<_, ApiError>(Text::Inline(text(&it)?.into()))).transpose()?;
    Ok(plan)
}

fn chosen(engine: &Engine, project: Option<&ProjectName>) -> Result<Vec<ProjectName>, ApiError> {
    match project {
        None => Ok(engine.projects().map(|project| project.spec.name.clone()).collect()),
        Some(name) if engine.project(name).is_some() => Ok(vec![name.clone()]),
        Some(name) => Err(Rejection::UnknownProject(name.clone()).into()),
    }
}

/// Projects by name.
pub fn projects(engine: &Engine) -> Vec<dto::Project> {
    let shown = |project: &ProjectRecord| dto::Project {
        name: project.spec.name.to_string(),
        source: project.spec.source.clone(),
        integration: project.spec.source.as_ref().map(|_| project.spec.integration.clone()),
        head: project.head.map(|commit| commit.to_string()),
        delivered: project.delivered.map(|commit| commit.to_string()),
        delivery_blocked: engine.delivery_waits(&project.spec.name),
        paused: project.paused,
        plans: project.plans,
        tasks: counted(engine.counts(Some(&project.spec.name))),
        budget_usd: project.spec.budget_micros.map(dto::dollars),
        usage: project.spent.iter().fold(dto::Spent::default(), dto::Spent::and),
        roles: roles(project),
    };
    engine.projects().map(shown).collect()
}

/// The usage and the limits of roles.
fn roles(project: &ProjectRecord) -> Vec<dto::RoleSpent> {
    let specs = &project.spec.roles;
    let limited = specs.iter().filter(|role| role.max_cost_micros.is_some() || role.profile.is_some());
    let names: BTreeSet<&RoleName> =
        project.spent.iter().map(|spent| &spent.role).chain(limited.map(|role| &role.name)).collect();
    let shown = |name: &RoleName| {
        let spec = specs.iter().find(|role| role.name == *name);
        let spent = project.spent.iter().filter(|spent| spent.role == *name);
        dto::RoleSpent {
            role: name.to_string(),
            profile: spec.and_then(|role| role.profile.as_ref()).map(|profile| profile.name.to_string()),
            max_cost_usd: spec.and_then(|role| role.max_cost_micros).map(dto::dollars),
            usage: spent.fold(dto::Spent::default(), dto::Spent::and),
        }
    };
    names.into_iter().map(shown).collect()
}

/// Agents: first those that are working, then the available ones of every role.
pub fn agents(engine: &Engine) -> Vec<dto::Agent> {
    let mut agents: Vec<dto::Agent> = Vec::new();
    for project in engine.projects() {
        let branch = |agent: &str| project.spec.source.as_ref().map(|_| format!("feat/{agent}"));
        let mut working: BTreeMap<&str, dto::Agent> = BTreeMap::new();
        for (_, agent, attempt) in engine.agents().filter(|(name, _, _)| **name == project.spec.name) {
            let shown = dto::Agent {
                name: agent.to_string(),
                project: project.spec.name.to_string(),
                role: attempt.role.to_string(),
                branch: branch(agent.as_str()),
                host: Some(attempt.host.to_string()),
                task: Some(attempt.attempt.task.to_string()),
                attempt: Some(attempt.attempt.number),
                stage: Some(dto::stage(attempt.stage).to_owned()),
                since: Some(attempt.started_at.into()),
            };
            working.insert(agent.as_str(), shown);
        }
        for role in &project.spec.roles {
            for number in 1..=role.count.min(IDLE_LISTED) {
                let name = format!("{}{number}", role.name);
                agents.push(working.remove(name.as_str()).unwrap_or_else(|| dto::Agent {
                    branch: branch(&name),
                    name,
                    project: project.spec.name.to_string(),
                    role: role.name.to_string(),
                    host: None,
                    task: None,
                    attempt: None,
                    stage: None,
                    since: None,
                }));
            }
        }
        // Agents of removed roles, or with higher numbers.
        agents.extend(working.into_values());
    }
    agents
}

/// An overview of everything.
pub fn overview(engine: &Engine, hosts: Vec<dto::Host>) -> dto::Overview {
    dto::Overview {
        api_version: dto::V1,
        tasks: counted(engine.counts(None)),
        hosts_by_presence: dto::by_presence(&hosts),
        unknown: hosts.iter().filter(|host| !host.up).map(|host| host.used).sum(),
        hosts,
        slots: engine.slots(),
        running: engine.running_attempts(),
        waiting: engine.waiting(None).iter().map(waiting).collect(),
        deliveries: engine.projects().filter_map(|project| delivery(engine, &project.spec.name)).collect(),
        providers: engine.providers().map(dto::Provider::from).collect(),
        usage: engine.projects().flat_map(|project| &project.spent).fold(dto::Spent::default(), dto::Spent::and),
    }
}

fn delivery(engine: &Engine, project: &ProjectName) -> Option<dto::DeliveryWaits> {
    engine.delivery_waits(project).map(|why| dto::DeliveryWaits { project: project.to_string(), why })
}

/// The tasks of a [`WaitQuery`], for [`Engine::watch`]: the named ones, or all tasks that a client can wait for.
///
/// # Errors
/// The project or a task does not exist.
pub fn waited_for(engine: &Engine, query: &WaitQuery) -> Result<Vec<TaskRef>, ApiError> {
    chosen(engine, Some(&query.project))?;
    let Some(ids) = &query.tasks else {
        let mut all = engine.task_refs(&query.project, None);
        all.retain(|task| !engine.resolution_given_up(task));
        return Ok(all);
    };
    let named = |id: &devstack_dag::ids::TaskId| {
        let task = TaskRef { project: query.project.clone(), id: id.clone() };
        engine.status(&task).map(|_| task.clone()).ok_or_else(|| Rejection::UnknownTask(task).into())
    };
    ids.iter().map(named).collect()
}

/// The outcome of these tasks, if they are settled; `query` decides whether waiting for a person counts as settled.
pub fn settled(engine: &Engine, query: &WaitQuery, tasks: &[TaskRef]) -> dto::Settled {
    let open: Vec<&TaskRef> = tasks.iter().filter(|task| engine.status(task) != Some(Status::Completed)).collect();
    let completed = open.is_empty();
    let mut list: Vec<dto::Waiting>;
    if completed {
        // Only the delivery can still wait.
        let waits = engine.waiting(Some(&query.project));
        list = waits.iter().filter(|waits| waits.task.is_none()).map(waiting).collect();
        if let Some(dto::DeliveryWaits { project, why }) = delivery(engine, &query.project).filter(|_| list.is_empty())
        {
            list.push(dto::Waiting {
                command: format!("devstack project resume {project}"),
                project,
                task: None,
                status: None,
                blocked_reason: None,
                why: format!("the source cannot be brought up to date: {why}"),
            });
        }
    } else {
        list = engine.waiting(Some(&query.project)).iter().map(waiting).collect();
        // Only a new plan can replace a rejected task.
        for task in open.iter().filter(|task| engine.status(task) == Some(Status::Rejected)) {
            let record = engine.task(task);
            let why = record.and_then(|record| record.rejected).map_or_else(|| "rejected".into(), String::from);
            list.push(dto::Waiting {
                project: task.project.to_string(),
                task: Some(task.to_string()),
                status: Some(Status::Rejected.to_string()),
                blocked_reason: None,
                why,
                command: "devstack plan submit PLAN, with the work under a new id".to_owned(),
            });
        }
    }
    dto::Settled { api_version: dto::V1, completed, tasks: tasks.len() as u64, waiting: list }
}

fn waiting(waiting: &Waiting) -> dto::Waiting {
    dto::Waiting {
        project: waiting.project.to_string(),
        task: waiting.task.as_ref().map(|id| format!("{}/{id}", waiting.project)),
        status: waiting.status.map(|status| status.to_string()),
        blocked_reason: waiting.reason.map(|reason| reason.to_string()),
        why: waiting.why.clone(),
        command: waiting.command.clone(),
    }
}

pub(super) fn counted(counts: Counts) -> BTreeMap<String, u64> {
    dto::STATUSES.iter().map(|&status| (status.to_string(), u64::from(counts.of(status)))).collect()
}
