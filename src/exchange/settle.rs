//! From a list's tasks to a plan's: ids of ours, what is over left out with what it means for those that wait, no cycle.
//! Deliberately absent: any one tool's words.

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
/// Members of a cycle that are named.
const NAMED_MAX: usize = 20;

/// A task that a plan can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its id in the list.
    pub source: String,
    /// Where it is in the list.
    pub line: Option<u32>,
    /// One line of 1 to 256 bytes.
    pub title: String,
    /// What the agent is told.
    pub prompt: String,
    /// How urgent.
    pub priority: Priority,
    /// Who was to do it, in the list's words.
    pub assigned: Option<String>,
    /// What it waits for.
    pub dependencies: Vec<TaskId>,
}

/// Settles what tasks are to each other. `finished`: those that are over are taken too.
pub(super) fn settle(items: Vec<Item>, finished: bool, losses: &mut Losses) -> Result<Vec<Task>, Vec<Mistake>> {
    let index = index(&items)?;
    let out = if finished { HashSet::new() } else { left_out(&items, &index, losses) };
    if finished {
        for item in items.iter().filter(|item| item.state != State::Open) {
            losses.add(item.line, Some(&item.id), "status", format!("{}: it runs again", item.status));
        }
    }
    let taken: Vec<&str> = items.iter().map(|item| item.id.as_str()).filter(|id| !out.contains(id)).collect();
    let ours = ids::assign(&taken);
    let mut tasks = Vec::with_capacity(taken.len());
    for item in items.iter().filter(|item| !out.contains(item.id.as_str())) {
        // Every one that is taken was given an id.
        let Some(id) = ours.get(item.id.as_str()) else { continue };
        if id.as_str() != item.id {
            losses.add(item.line, Some(&item.id), "id", format!("not a valid id here: the task is `{id}`"));
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

/// Where each task is; ids that stand twice are refused.
fn index(items: &[Item]) -> Result<HashMap<&str, &Item>, Vec<Mistake>> {
    let mut index: HashMap<&str, &Item> = HashMap::with_capacity(items.len());
    let mut mistakes = Vec::new();
    for item in items {
        if let Some(first) = index.insert(&item.id, item)
            && mistakes.len() < 100
        {
            let first = first.line.map(|line| format!(", first on line {line}")).unwrap_or_default();
            let message = format!("the id `{}` stands twice{first}", item.id);
            mistakes.push(Mistake::new(item.line, message).hint("give one of them another id"));
        }
    }
    if mistakes.is_empty() { Ok(index) } else { Err(mistakes) }
}

/// What is over, and what waits for something that will not be done.
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
                let what = format!("waits for {}, which is left out: so is this task", item.id);
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
            (None, Some(done)) => format!("{need} is over ({}): it need not wait for it", done.status),
            (None, None) => format!("{need} is not in the list: it does not wait for it"),
        };
        losses.add(item.line, Some(&item.id), "dependencies", what);
    }
    dependencies
}

/// A title of one line that fits, and the prompt, which has the whole title where it did not.
fn title(item: &Item, id: &TaskId, losses: &mut Losses) -> (String, String) {
    let prompt = item.brief.prompt();
    let line: String = item.title.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_empty() {
        return (id.to_string(), prompt);
    }
    if line.len() <= TITLE_MAX {
        if line != item.title {
            losses.add(item.line, Some(&item.id), "title", "control characters and space around it: left out");
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
        format!("longer than {TITLE_MAX} bytes: cut; the prompt has it whole"),
    );
    let whole = if prompt.is_empty() { line.clone() } else { format!("{line}\n\n{prompt}") };
    (format!("{}…", &line[..end]), whole)
}

/// The mistake of a cycle, its members named.
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
    Err(vec![Mistake::new(members[0].line, message).hint("take one of these dependencies out")])
}
