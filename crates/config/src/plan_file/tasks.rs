//! `[defaults]` and `[[task]]`.
//! Deliberately absent: relations between tasks (`graph`).

use devstack_dag::{
    ids::{RoleName, TaskId, Text},
    plan::{Executor, Priority, RetryFrom, TaskSpec},
};

use super::{PROMPT_MAX, Surroundings, guards, project, project::Roles};
use crate::section::{At, Reader, Table, code};

/// The longest title, in bytes: it is the first line of a merge commit.
const TITLE_MAX: usize = 256;
/// The longest list of dependencies, in bytes of their ids: a record is at most 16 KiB.
const DEPENDENCIES_MAX: usize = 8 << 10;
/// The shortest and longest timeout of an attempt, in milliseconds: no agent needs more than a week.
const TIMEOUT: (u64, u64) = (100, 7 * 86_400_000);
/// The longest grace, in milliseconds: a stopping node waits as long.
const GRACE_MAX: u64 = 600_000;
/// The most attempts that count.
const ATTEMPTS_MAX: u32 = 100;
const PRIORITIES: [(&str, Priority); 4] =
    [("critical", Priority::Critical), ("high", Priority::High), ("medium", Priority::Medium), ("low", Priority::Low)];
const RETRY: [(&str, RetryFrom); 2] = [("last", RetryFrom::Last), ("fresh", RetryFrom::Fresh)];

/// A task, and the positions for messages about its relations.
pub(super) struct Placed {
    /// The task.
    pub(super) spec: TaskSpec,
    /// Where its id is.
    pub(super) at: usize,
    /// Where its dependencies are.
    pub(super) dependencies_at: usize,
}

/// The values of `[defaults]`; devstack's own defaults for keys that it lacks.
pub(super) struct Defaults {
    role: Option<RoleName>,
    timeout_ms: u64,
    grace_ms: u64,
    idle_timeout_ms: u64,
    attempts: u32,
    retry_from: RetryFrom,
    priority: Priority,
}

/// Times and retries of attempts; the keys are the same in `[defaults]` and in a task.
struct Pace {
    timeout_ms: Option<u64>,
    grace_ms: Option<u64>,
    idle_timeout_ms: Option<u64>,
    attempts: Option<u32>,
    retry_from: Option<RetryFrom>,
    priority: Option<Priority>,
}

impl Pace {
    const KEYS: [&'static str; 6] = ["timeout", "grace", "idle_timeout", "attempts", "retry_from", "priority"];

    fn read<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Self {
        Self {
            timeout_ms: table.duration(reader, "timeout", TIMEOUT.0, TIMEOUT.1).map(|v| v.value),
            grace_ms: table.duration(reader, "grace", 0, GRACE_MAX).map(|v| v.value),
            idle_timeout_ms: table.duration(reader, "idle_timeout", TIMEOUT.0, TIMEOUT.1).map(|v| v.value),
            attempts: table.integer(reader, "attempts", 1, ATTEMPTS_MAX).map(|v| v.value),
            retry_from: table.word(reader, "retry_from", &RETRY).map(|v| v.value),
            priority: table.word(reader, "priority", &PRIORITIES).map(|v| v.value),
        }
    }
}

/// Reads `[defaults]`. The default role is the one that it names, else the only role of the plan.
pub(super) fn defaults<'i>(reader: &mut Reader<'i>, top: &mut Table<'i>, roles: &Roles) -> Defaults {
    let mut defaults = Defaults {
        role: roles.only().map(|role| role.name.clone()),
        timeout_ms: 30 * 60_000,
        grace_ms: 10_000,
        idle_timeout_ms: 15 * 60_000,
        attempts: 3,
        retry_from: RetryFrom::Last,
        priority: Priority::Medium,
    };
    let Some(field) = top.take(reader, "defaults") else { return defaults };
    let Some(mut table) = reader.table(field.value, "[defaults]") else { return defaults };
    if let Some(role) = table.text(reader, "role") {
        defaults.role = roles.named(reader, role.at, &role.value, " in [defaults]").map(|role| role.name.clone());
    }
    let pace = Pace::read(reader, &mut table);
    defaults.timeout_ms = pace.timeout_ms.unwrap_or(defaults.timeout_ms);
    defaults.grace_ms = pace.grace_ms.unwrap_or(defaults.grace_ms);
    defaults.idle_timeout_ms = pace.idle_timeout_ms.unwrap_or(defaults.idle_timeout_ms);
    defaults.attempts = pace.attempts.unwrap_or(defaults.attempts);
    defaults.retry_from = pace.retry_from.unwrap_or(defaults.retry_from);
    defaults.priority = pace.priority.unwrap_or(defaults.priority);
    table.finish(reader, &[&["role"], Pace::KEYS.as_slice()].concat());
    defaults
}

/// Reads `[[task]]`; `None` if there is none.
pub(super) fn tasks<'i>(
    reader: &mut Reader<'i>,
    top: &mut Table<'i>,
    roles: &Roles,
    defaults: &Defaults,
    around: &dyn Surroundings,
) -> Option<Vec<Placed>> {
    let items = top.array(reader, "task", "a list of tasks: [[task]]");
    let items = items.map(|items| items.value).unwrap_or_default();
    if items.is_empty() {
        let hint = "add one:\n  [[task]]\n  id = \"T-001\"\n  title = \"Login API\"\n  prompt = \"…\"".to_owned();
        reader.add(reader.text.len(), code::MISSING, "the plan has no tasks", Some(hint));
        return None;
    }
    let mut tasks = Vec::with_capacity(items.len());
    for item in items {
        let Some(table) = reader.table(item, "a [[task]]") else { continue };
        tasks.extend(task(reader, table, roles, defaults, around));
    }
    Some(tasks)
}

fn task<'i>(
    reader: &mut Reader<'i>,
    mut table: Table<'i>,
    roles: &Roles,
    defaults: &Defaults,
    around: &dyn Surroundings,
) -> Option<Placed> {
    let has_id = table.has("id");
    let id = match table.text(reader, "id") {
        Some(id) => {
            table.what = format!("task {}", id.value);
            At {
                at: id.at,
                value: TaskId::new(&id.value).map_err(|e| reader.add(id.at, code::BAD_VALUE, e.to_string(), None)),
            }
        }
        None => {
            if !has_id {
                let hint = "for example id = \"T-001\"".to_owned();
                reader.add(table.at, code::MISSING, "a task has no `id`", Some(hint));
            }
            table.what = "a task without id".to_owned();
            At { at: table.at, value: Err(()) }
        }
    };
    let is_titled = table.has("title");
    let title = title(reader, &mut table);
    let is_prompted = table.has("prompt") || table.has("prompt_file");
    let prompt = prompt(reader, &mut table, around);
    let (dependencies, dependencies_at) = dependencies(reader, &mut table, id.at);
    let is_commanded = table.has("command");
    let command = project::command(reader, &mut table);
    let executor = executor(reader, &mut table, roles, defaults, &id, command.is_some());
    // A command of its own says what to do; and wrong values were already reported.
    let is_told = is_commanded || is_titled || (is_prompted && !(reader.is_clean() && prompt.trim().is_empty()));
    if !is_told {
        let message = format!("{} has neither a `title` nor a `prompt`, so nobody knows what to do", table.what);
        let hint = "for example title = \"Login API\"".to_owned();
        reader.add(id.at, code::MISSING, message, Some(hint));
    }
    let allow_empty = table.boolean(reader, "allow_empty").is_some_and(|v| v.value);
    let mass_delete = table.boolean(reader, "mass_delete").is_some_and(|v| v.value);
    let may_change = guards::globs(reader, &mut table, "may_change").map(|globs| globs.value).unwrap_or_default();
    let pace = Pace::read(reader, &mut table);
    let own = ["id", "title", "prompt", "prompt_file", "dependencies", "role", "executor", "command", "allow_empty"];
    table.finish(reader, &[own.as_slice(), &["mass_delete", "may_change"], Pace::KEYS.as_slice()].concat());
    let id_text = id.value.ok()?;
    let spec = TaskSpec {
        title: title.unwrap_or_else(|| id_text.as_str().into()),
        id: id_text,
        prompt: Text::Inline(prompt),
        dependencies,
        priority: pace.priority.unwrap_or(defaults.priority),
        // A task with a wrong executor stays in the graph, so that its dependents are not reported as well.
        executor: executor.unwrap_or(Executor::Human),
        command: command.map(|words| words.into_iter().map(String::into_boxed_str).collect()),
        timeout_ms: pace.timeout_ms.unwrap_or(defaults.timeout_ms),
        grace_ms: pace.grace_ms.unwrap_or(defaults.grace_ms),
        idle_timeout_ms: pace.idle_timeout_ms.unwrap_or(defaults.idle_timeout_ms),
        attempts: pace.attempts.unwrap_or(defaults.attempts),
        retry_from: pace.retry_from.unwrap_or(defaults.retry_from),
        allow_empty,
        mass_delete,
        may_change: may_change.into_iter().map(String::into_boxed_str).collect(),
    };
    Some(Placed { spec, at: id.at, dependencies_at })
}

fn title<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>) -> Option<Box<str>> {
    let title = table.text(reader, "title")?;
    if title.value.len() > TITLE_MAX || title.value.trim().is_empty() || title.value.contains(|c: char| c.is_control())
    {
        let message = format!("`title`{} must be one line of 1 to {TITLE_MAX} bytes", table.of());
        reader.add(title.at, code::BAD_VALUE, message, None);
        return None;
    }
    Some(title.value.into())
}

fn prompt<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, around: &dyn Surroundings) -> Box<str> {
    let inline = table.text(reader, "prompt");
    let file = table.text(reader, "prompt_file");
    let of = table.of();
    if let (Some(_), Some(file)) = (&inline, &file) {
        reader.add(file.at, code::BAD_VALUE, format!("`prompt` and `prompt_file`{of} exclude each other"), None);
    }
    let (at, text) = match (inline, file) {
        (Some(inline), _) => (inline.at, inline.value.into()),
        (None, Some(file)) => match around.prompt(&file.value) {
            Ok(text) => (file.at, text.into_boxed_str()),
            Err(why) => {
                let message = format!("cannot read `prompt_file`{of}, `{}`: {why}", file.value);
                reader.add(
                    file.at,
                    code::UNREADABLE,
                    message,
                    Some("the path is relative to the plan file".to_owned()),
                );
                return "".into();
            }
        },
        (None, None) => return "".into(),
    };
    if text.len() > PROMPT_MAX {
        let message = format!("the prompt{of} has {} bytes; at most {PROMPT_MAX} are allowed", text.len());
        reader.add(at, code::BAD_VALUE, message, Some("put long material into files of the repository".to_owned()));
    }
    text
}

fn dependencies<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, id_at: usize) -> (Box<[TaskId]>, usize) {
    let Some(list) = table.texts(reader, "dependencies") else { return (Box::new([]), id_at) };
    let of = table.of();
    let mut ids: Vec<TaskId> = Vec::with_capacity(list.value.len());
    for At { at, value } in &list.value {
        match TaskId::new(value) {
            Ok(id) if ids.contains(&id) => {
                reader.add(*at, code::BAD_VALUE, format!("`dependencies`{of} names `{id}` twice"), None);
            }
            Ok(id) => ids.push(id),
            Err(e) => reader.add(*at, code::BAD_VALUE, format!("`dependencies`{of}: {e}"), None),
        }
    }
    let size: usize = ids.iter().map(|id| id.as_str().len() + 1).sum();
    if size > DEPENDENCIES_MAX {
        let message = format!("`dependencies`{of} has {size} bytes of ids; at most {DEPENDENCIES_MAX} are allowed");
        let hint = "group the dependencies under an intermediate task, and depend on that".to_owned();
        reader.add(list.at, code::BAD_VALUE, message, Some(hint));
    }
    (ids.into_boxed_slice(), list.at)
}

fn executor<'i>(
    reader: &mut Reader<'i>,
    table: &mut Table<'i>,
    roles: &Roles,
    defaults: &Defaults,
    id: &At<Result<TaskId, ()>>,
    has_command: bool,
) -> Option<Executor> {
    let role = table.text(reader, "role");
    let human = table.word(reader, "executor", &[("agent", false), ("human", true)]);
    let of = table.of();
    if let Some(human) = human.filter(|human| human.value) {
        if role.is_some() {
            reader.add(
                human.at,
                code::BAD_VALUE,
                format!("`role` and `executor = \"human\"`{of} exclude each other"),
                None,
            );
        }
        if has_command {
            reader.add(
                human.at,
                code::BAD_VALUE,
                format!("`command` and `executor = \"human\"`{of} exclude each other"),
                None,
            );
        }
        return Some(Executor::Human);
    }
    let (at, role) = match &role {
        Some(named) => (named.at, roles.named(reader, named.at, &named.value, &of)?),
        None => match defaults.role.as_ref().and_then(|name| roles.get(name.as_str())) {
            Some(role) => (id.at, role),
            None => {
                let hint = "add `role = \"…\"` to the task or to [defaults]; [agents.NAME] defines a role".to_owned();
                reader.add(id.at, code::MISSING, format!("{} has no role", table.what), Some(hint));
                return None;
            }
        },
    };
    if let Some(profile) = role.profile.as_ref().filter(|_| has_command) {
        let message =
            format!("`command`{of} and the profile `{}` of its role `{}` exclude each other", profile.name, role.name);
        let hint = "remove `command`, or give the task a role without a profile".to_owned();
        reader.add(at, code::BAD_VALUE, message, Some(hint));
    }
    if role.command.is_empty() && !has_command {
        let message = format!("neither {} nor its role `{}` has a `command`", table.what, role.name);
        reader.add(
            at,
            code::MISSING,
            message,
            Some(format!("add `command = [\"sh\", \"-c\", \"…\"]` to [agents.{}]", role.name)),
        );
    }
    Some(Executor::Agent(role.name.clone()))
}
