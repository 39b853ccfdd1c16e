//! Turns imported tasks into plan tasks: assigns ids, drops finished tasks and the dependencies on them, and rejects
//! cycles.
//! Deliberately absent: anything specific to one tool.

use std::collections::{HashMap, HashSet, VecDeque};

use devstack_dag::{
    graph::{self, Edges},
    ids::TaskId,
    plan::Priority,
};

use super::{
    document::Mistake,
    ids,
    item::{Item, State},
    loss::Losses,
};

/// The longest title, in bytes: the plan file's limit.
const TITLE_MAX: usize = 256;
/// The most members of a cycle that are named.
const NAMED_MAX: usize = 20;

/// A task for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its id in the list.
    pub source: String,
    /// Its line in the list.
    pub line: Option<u32>,
    /// One line of 1 to 256 bytes.
    pub title: String,
    /// The prompt of the agent.
    pub prompt: String,
    /// The priority.
    pub priority: Priority,
    /// The assignee, as written in the list.
    pub assigned: Option<String>,
    /// The tasks that must be completed first.
    pub dependencies: Vec<TaskId>,
}

/// Resolves the relations between tasks. `finished`: also import finished tasks.
pub(super) fn settle(items: Vec<Item>, finished: bool, losses: &mut Losses) -> Result<Vec<Task>, Vec<Mistake>> {
    let index = index(&items)?;
    let out = if finished { HashSet::new() } else { left_out(&items, &index, losses) };
    if finished {
        for item in items.iter().filter(|item| item.state != State::Open) {
            losses.add(item.line, Some(&item.id), "status", format!("{}: the task runs again", item.status));
        }
    }
    let taken: Vec<&str> = items.iter().map(|item| item.id.as_str()).filter(|id| !out.contains(id)).collect();
    let ours = ids::assign(&taken);
    let mut tasks = Vec::with_capacity(taken.len());
    for item in items.iter().filter(|item| !out.contains(item.id.as_str())) {
        // Every imported task got an id.
        let Some(id) = ours.get(item.id.as_str()) else { continue };
        if id.as_str() != item.id {
            losses.add(item.line, Some(&item.id), "id", format!("not a valid task id: imported as `{id}`"));
        }
        let dependencies = dependencies(item, &index, &ours, losses);
        let (title, prompt) = title(item, id, losses);
        let (source, line, assigned) = (item.id.clone(), item.line, item.assigned.clone());
        tasks.push(Task {
            id: id.clone(),
            source,
            line,
            title,
            prompt,
            priority: item.priority,
            assigned,
            dependencies,
        });
    }
    refuse_cycle(&tasks)?;
    Ok(tasks)
}

/// Indexes the tasks by id; duplicate ids are refused.
fn index(items: &[Item]) -> Result<HashMap<&str, &Item>, Vec<Mistake>> {
    let mut index: HashMap<&str, &Item> = HashMap::with_capacity(items.len());
    let mut mistakes = Vec::new();
    for item in items {
        if let Some(first) = index.insert(&item.id, item)
            && mistakes.len() < 100
        {
            let first = first.line.map(|line| format!(", first on line {line}")).unwrap_or_default();
            let message = format!("duplicate id `{}`{first}", item.id);
            mistakes.push(Mistake::new(item.line, message).hint("give one of the tasks another id"));
        }
    }
    if mistakes.is_empty() { Ok(index) } else { Err(mistakes) }
}

/// The tasks to leave out: finished ones, and those that depend on a task that will never be done.
fn left_out<'a>(items: &'a [Item], index: &HashMap<&str, &'a Item>, losses: &mut Losses) -> HashSet<&'a str> {
    let mut out: HashSet<&str> = HashSet::new();
    let mut dependents: HashMap<&str, Vec<&Item>> = HashMap::new();
    let mut never: VecDeque<&Item> = VecDeque::new();
    for item in items {
        for need in &item.needs {
            if let Some(needed) = index.get(need.as_str()) {
                dependents.entry(&needed.id).or_default().push(item);
            }
        }
        if item.state != State::Open {
            out.insert(&item.id);
            losses.add(item.line, Some(&item.id), "status", format!("{}: the task is left out", item.status));
        }
        if matches!(item.state, State::GivenUp | State::PutOff) {
            never.push_back(item);
        }
    }
    while let Some(item) = never.pop_front() {
        for &dependent in dependents.get(item.id.as_str()).into_iter().flatten() {
            if out.insert(&dependent.id) {
                let what = format!("depends on {}, which is left out: this task is left out as well", item.id);
                losses.add(dependent.line, Some(&dependent.id), "dependencies", what);
                never.push_back(dependent);
            }
        }
    }
    out
}

fn dependencies(
    item: &Item,
    index: &HashMap<&str, &Item>,
    ours: &HashMap<&str, TaskId>,
    losses: &mut Losses,
) -> Vec<TaskId> {
    let (mut dependencies, mut seen) = (Vec::new(), HashSet::new());
    for need in item.needs.iter().filter(|need| seen.insert(need.as_str())) {
        let what = match (ours.get(need.as_str()), index.get(need.as_str())) {
            (Some(id), _) => {
                dependencies.push(id.clone());
                continue;
            }
            (None, Some(done)) => format!("{need} is finished ({}): the dependency is dropped", done.status),
            (None, None) => format!("{need} is not in the list: the dependency is dropped"),
        };
        losses.add(item.line, Some(&item.id), "dependencies", what);
    }
    dependencies
}

/// The title on one line within the limit, and the prompt. A title that is too long is put into the prompt as a whole.
fn title(item: &Item, id: &TaskId, losses: &mut Losses) -> (String, String) {
    let prompt = item.brief.prompt();
    let line: String = item.title.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_empty() {
        return (id.to_string(), prompt);
    }
    if line.len() <= TITLE_MAX {
        if line != item.title {
            losses.add(item.line, Some(&item.id), "title", "control characters and surrounding spaces: left out");
        }
        return (line, prompt);
    }
    let mut end = TITLE_MAX - '…'.len_utf8();
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    losses.add(
        item.line,
        Some(&item.id),
        "title",
        format!("longer than {TITLE_MAX} bytes: shortened; the prompt has the whole title"),
    );
    let whole = if prompt.is_empty() { line.clone() } else { format!("{line}\n\n{prompt}") };
    (format!("{}…", &line[..end]), whole)
}

/// Refuses a cycle, and names its members.
fn refuse_cycle(tasks: &[Task]) -> Result<(), Vec<Mistake>> {
    let index: HashMap<&TaskId, u32> = tasks.iter().enumerate().map(|(at, task)| (&task.id, at as u32)).collect();
    let mut edges = Edges::with_capacity(tasks.len());
    for task in tasks {
        edges.push(task.dependencies.iter().filter_map(|id| index.get(id).copied()));
    }
    let Some(cycle) = graph::cycle(&edges) else { return Ok(()) };
    let members: Vec<&Task> = cycle.iter().map(|&at| &tasks[at as usize]).collect();
    let mut names: Vec<&str> = members.iter().take(NAMED_MAX).map(|task| task.source.as_str()).collect();
    if members.len() > NAMED_MAX {
        names.push("…");
    }
    names.push(&members[0].source);
    let message = format!("these tasks wait for each other: {}", names.join(" → "));
    Err(vec![Mistake::new(members[0].line, message).hint("remove one of these dependencies")])
}
