//! Synchronizes a Dev_Stack `tasks.json` and a project. A three-way merge, task by task and field by field, combines
//! the changes in the file with the changes in the project. Its base is the last version on which both agreed.
//!
//! Each task in the file has `updated`, the project's time of its content. This shows if a writer replaced a newer file
//! by an older version: fields that the writer did not change itself count as unchanged, and never as a command.
//!
//! * Texts (title, description, criteria, notes, priority, dependencies) belong to people. A change in the file goes to
//!   the project, if the task's state allows it; if both changed a field, the project's value stays.
//! * Progress (status, agent, branch, attempts, commits) belongs to the project. A changed status is a command if it
//!   has only one meaning: BLOCKED → TODO (retry), REVIEW → APPROVED (approve), REJECTED (reject). Any other change is
//!   reverted.
//! * Everything else belongs to the file and is not touched.
//!
//! Deliberately absent: files, nodes and time.

use std::collections::{HashMap, HashSet, VecDeque};

use devstack_dag::plan::Priority;

use super::{Live, json::Json, render, words::Words};

/// Remembered versions per task: writers are rarely further behind.
const VERSIONS: usize = 8;

/// A version of a task on which file and project agreed.
#[derive(Debug, Clone)]
struct Version {
    updated: String,
    status: String,
    words: Words,
}

/// The versions on which both agreed, newest last.
#[derive(Debug, Default)]
pub struct Agreed(HashMap<String, VecDeque<Version>>);

impl Agreed {
    /// Records that both now agree on these tasks.
    pub fn note(&mut self, project: &[Live], agreed: &HashSet<String>) {
        for live in project.iter().filter(|live| agreed.contains(&live.id)) {
            let versions = self.0.entry(live.id.clone()).or_default();
            let version =
                Version { updated: live.updated.clone(), status: live.status.clone(), words: Words::of_live(live) };
            if versions.back().is_some_and(|last| last.updated == version.updated) {
                versions.pop_back();
            }
            versions.push_back(version);
            if versions.len() > VERSIONS {
                versions.pop_front();
            }
        }
    }

    /// The version from which a task of the file was made. A task without `updated` is older than the first
    /// synchronization, or its writer read the file before that.
    fn version(&self, id: &str, updated: Option<&str>) -> Option<&Version> {
        let updated = updated?;
        self.0.get(id)?.iter().rev().find(|version| version.updated == updated)
    }
}

/// A command, expressed by a changed status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// BLOCKED → TODO.
    Retry,
    /// REVIEW → APPROVED.
    Approve,
    /// REJECTED.
    Reject,
}

/// A task that the file requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its id; not checked.
    pub id: String,
    /// Whether the project does not have it yet.
    pub new: bool,
    /// One line for people.
    pub title: String,
    /// The prompt of the agent.
    pub prompt: String,
    /// The priority.
    pub priority: Priority,
    /// The assignee, as written in the list.
    pub assigned: Option<String>,
    /// The tasks that must be completed first.
    pub dependencies: Vec<String>,
}

/// What the file requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Tasks with new texts, in the file's order.
    pub words: Vec<Wanted>,
    /// Commands for tasks, in the file's order.
    pub orders: Vec<(String, Order)>,
    /// Refused requests: the task and the reason, in the file's order.
    pub refused: Vec<(String, String)>,
}

/// What the file requests from the project.
pub fn asked(file: &Json, agreed: &Agreed, project: &[Live]) -> Asked {
    let known: HashMap<&str, &Live> = project.iter().map(|live| (live.id.as_str(), live)).collect();
    let mut asked = Asked::default();
    let mut seen = HashSet::new();
    let over = over(file, &known);
    for (id, task) in tasks(file) {
        if !seen.insert(id) {
            asked.refuse(id, "duplicate id: only the first task with this id counts".to_owned());
            continue;
        }
        match known.get(id) {
            Some(live) => asked.of_known(id, task, &over, agreed, live),
            // The task was finished before the first synchronization.
            None if over.contains(id) => {}
            None => {
                asked.words.push(Words::of(task, &over).wanted(id, text(task, "assigned"), true));
            }
        }
    }
    for live in project {
        let was_there = agreed.0.contains_key(&live.id);
        if was_there && !seen.contains(live.id.as_str()) && !is_over(&live.status) {
            let why = "removing a task from the file does not reject it: set its status to REJECTED";
            asked.refuse(&live.id, why.to_owned());
        }
    }
    asked
}

impl Asked {
    fn of_known(&mut self, id: &str, task: &Json, over: &HashSet<&str>, agreed: &Agreed, live: &Live) {
        let version = agreed.version(id, text(task, "updated"));
        let order = self.order(id, task, version, live);
        if order == Some(Order::Reject) {
            return self.orders.push((id.to_owned(), Order::Reject));
        }
        let (words, now) = (Words::of(task, over), Words::of_live(live));
        let base = version.map_or(&now, |version| &version.words);
        let (merged, both) = words.merged(base, &now);
        for field in both {
            self.refuse(id, format!("`{field}` was also changed in the project: the project's value is kept"));
        }
        let open = live.status == "BLOCKED" || (live.status == "TODO" && live.attempts == 0);
        if merged == now {
            self.orders.extend(order.map(|order| (id.to_owned(), order)));
        } else if open {
            // Changed texts also retry a BLOCKED task.
            self.words.push(merged.wanted(id, None, false));
        } else {
            self.refuse(id, format!("it is {} (attempts: {}), so its texts cannot change", live.status, live.attempts));
            self.orders.extend(order.map(|order| (id.to_owned(), order)));
        }
    }

    /// The command that a changed status means.
    fn order(&mut self, id: &str, task: &Json, version: Option<&Version>, live: &Live) -> Option<Order> {
        let wanted = status(task).filter(|wanted| *wanted != live.status)?;
        // A status that the writer did not change is only outdated. Without a version, trust the writer only if it knew
        // the present state.
        let was = match version {
            Some(version) => version.status.as_str(),
            None if text(task, "updated") == Some(&live.updated) => live.status.as_str(),
            None => return None,
        };
        if wanted == was {
            return None;
        }
        match (live.status.as_str(), wanted) {
            ("COMPLETED" | "REJECTED", _) => {}
            (_, "REJECTED") => return Some(Order::Reject),
            ("BLOCKED", "TODO") if was == "BLOCKED" => return Some(Order::Retry),
            ("REVIEW", "APPROVED") if was == "REVIEW" => return Some(Order::Approve),
            _ => {}
        }
        self.refuse(id, format!("its status is {}; only work can change it to {wanted}", live.status));
        None
    }

    fn refuse(&mut self, id: &str, why: String) {
        self.refused.push((id.to_owned(), why));
    }
}

/// Updates the file from the project. Also returns the tasks on which both then agree. A task that differs from
/// `processed` was changed meanwhile; it stays unchanged and is handled next time.
pub fn written(file: &Json, processed: &Json, agreed: &Agreed, project: &[Live], day: &str) -> (Json, HashSet<String>) {
    let known: HashMap<&str, &Live> = project.iter().map(|live| (live.id.as_str(), live)).collect();
    let before: HashMap<&str, &Json> = tasks(processed).collect();
    let there: HashSet<&str> = tasks(file).map(|(id, _)| id).collect();
    let over = over(file, &known);
    let (mut new, mut same, mut seen) = (file.clone(), HashSet::new(), HashSet::new());
    if new.get("tasks").is_none() {
        new.set("tasks", Json::List(Vec::new()));
    }
    if let Some(Json::List(items)) = new.get_mut("tasks") {
        for task in items.iter_mut() {
            let Some(id) = text(task, "id").map(str::to_owned) else { continue };
            let Some(live) = known.get(id.as_str()).filter(|_| seen.insert(id.clone())) else { continue };
            if before.get(id.as_str()).copied() == Some(task) {
                update(task, live, &over);
                same.insert(id);
            }
        }
        for live in project.iter().filter(|live| !there.contains(live.id.as_str())) {
            let removed_since = before.contains_key(live.id.as_str());
            let archived = agreed.0.contains_key(&live.id) && is_over(&live.status);
            if !removed_since && !archived {
                items.push(render::task(live));
                same.insert(live.id.clone());
            }
        }
    }
    if new != *file {
        if new.get("metadata").is_none() {
            new.set("metadata", Json::Object(Vec::new()));
        }
        if let Some(metadata) = new.get_mut("metadata") {
            metadata.set("last_updated", Json::text(day));
        }
    }
    (new, same)
}

/// Updates the fields of a task that belong to the project, and its texts if they differ.
fn update(task: &mut Json, live: &Live, over: &HashSet<&str>) {
    let rendered = render::task(live);
    let words = Words::of(task, over) != Words::of_live(live);
    for (key, value) in rendered.fields() {
        let owned = match key.as_str() {
            "title" | "priority" | "dependencies" | "description" | "acceptance_criteria" | "technical_notes" => words,
            "id" => false,
            // The assignee belongs to the file until an agent works on the task.
            "assigned" => live.agent.is_some(),
            "created" | "completed" => task.get(key).is_none_or(|there| *there == Json::Null),
            _ => true,
        };
        if owned && task.get(key) != Some(value) {
            task.set(key, value.clone());
        }
    }
}

/// Applies another writer's changes from `base` to `theirs` to `ours`: tasks, fields of tasks, and other keys. If both
/// changed the same field, ours stays.
pub fn carried(base: &Json, theirs: &Json, ours: &Json) -> Json {
    let mut merged = ours.clone();
    carry_fields(base, theirs, &mut merged, "tasks");
    let was: HashMap<&str, &Json> = tasks(base).collect();
    let mut missing = Vec::new();
    if merged.get("tasks").is_none() {
        merged.set("tasks", Json::List(Vec::new()));
    }
    let Some(Json::List(items)) = merged.get_mut("tasks") else { return merged };
    let places: HashMap<String, usize> =
        items.iter().enumerate().filter_map(|(at, task)| Some((text(task, "id")?.to_owned(), at))).collect();
    for (id, task) in tasks(theirs) {
        match (was.get(id), places.get(id)) {
            (Some(base), Some(&at)) => carry_fields(base, task, &mut items[at], ""),
            // They added it, or they changed it and we removed it: keep theirs.
            (base, None) if base.is_none_or(|base| *base != task) => missing.push(task.clone()),
            _ => {}
        }
    }
    items.extend(missing);
    merged
}

fn carry_fields(base: &Json, theirs: &Json, ours: &mut Json, but: &str) {
    for (key, value) in theirs.fields().iter().filter(|(key, _)| key != but) {
        let was = base.get(key);
        if was != Some(value) && ours.get(key) == was {
            ours.set(key, value.clone());
        }
    }
}

/// The tasks that have an id, with their ids.
fn tasks(document: &Json) -> impl Iterator<Item = (&str, &Json)> {
    let items = document.get("tasks").map(Json::items).unwrap_or_default();
    items.iter().filter_map(|task| Some((text(task, "id")?, task)))
}

fn text<'a>(task: &'a Json, key: &str) -> Option<&'a str> {
    task.get(key)?.as_text()
}

fn status(task: &Json) -> Option<&str> {
    text(task, "status")
}

/// Whether a document can be synchronized: an object whose `tasks`, if any, are a list.
pub fn is_list(document: &Json) -> bool {
    matches!(document, Json::Object(_)) && document.get("tasks").is_none_or(|tasks| matches!(tasks, Json::List(_)))
}

/// Whether the status is final.
fn is_over(status: &str) -> bool {
    ["COMPLETED", "REJECTED"].contains(&status)
}

/// Tasks of the file that were finished before the first synchronization: dependencies on them are ignored.
fn over<'a>(file: &'a Json, known: &HashMap<&str, &Live>) -> HashSet<&'a str> {
    let is_over = |task: &Json| is_over(status(task).unwrap_or("TODO"));
    tasks(file).filter(|(id, task)| !known.contains_key(id) && is_over(task)).map(|(id, _)| id).collect()
}
