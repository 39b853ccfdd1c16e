//! Keeping a Dev_Stack `tasks.json` and a project in step: what a person changed in the file, what the project changed, and both
//! together. Three-way: against what both said when they last agreed, task by task and field by field.
//!
//! A task in the file carries `updated`, the project's time of what it says. A writer that wrote over a newer file with an older
//! one is known by it: what it did not change itself is no change, and never a command.
//!
//! * Words (title, description, criteria, notes, priority, dependencies) belong to people. Changed in the file they go to the
//!   project, if the task's state allows; changed in both, the project's stay.
//! * What happens (status, agent, branch, attempts, commits) belongs to the project. A changed status is a command where it can only
//!   mean one: BLOCKED → TODO (retry), REVIEW → APPROVED (approve), REJECTED (reject). Any other gets the true one back.
//! * Everything else belongs to the file and is not touched.
//!
//! Deliberately absent: files, nodes and time.

use std::collections::{HashMap, HashSet, VecDeque};

use devstack_dag::plan::Priority;

use super::{Live, json::Json, render, words::Words};

/// Versions of a task that are remembered: writers are seldom further behind.
const VERSIONS: usize = 8;

/// What a task was when file and project agreed.
#[derive(Debug, Clone)]
struct Version {
    updated: String,
    status: String,
    words: Words,
}

/// What both said when they last agreed, newest last.
#[derive(Debug, Default)]
pub struct Agreed(HashMap<String, VecDeque<Version>>);

impl Agreed {
    /// Both say this of these tasks now.
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

    /// The version that a task of the file was made from. One that does not say is from before devstack came, or was written by
    /// somebody who read it then.
    fn version(&self, id: &str, updated: Option<&str>) -> Option<&Version> {
        let updated = updated?;
        self.0.get(id)?.iter().rev().find(|version| version.updated == updated)
    }
}

/// A command that a changed status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// BLOCKED → TODO.
    Retry,
    /// REVIEW → APPROVED.
    Approve,
    /// REJECTED.
    Reject,
}

/// A task as the file wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its id; not checked.
    pub id: String,
    /// Does the project not have it?
    pub new: bool,
    /// One line for people.
    pub title: String,
    /// What the agent is told.
    pub prompt: String,
    /// How urgent.
    pub priority: Priority,
    /// Who is to do it, in the list's words.
    pub assigned: Option<String>,
    /// What it waits for.
    pub dependencies: Vec<String>,
}

/// What the file asks for, and what of it is refused: task and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Tasks with new words, in the file's order.
    pub words: Vec<Wanted>,
    /// Commands for tasks, in the file's order.
    pub orders: Vec<(String, Order)>,
    /// In the file's order.
    pub refused: Vec<(String, String)>,
}

/// What the file asks of the project.
pub fn asked(file: &Json, agreed: &Agreed, project: &[Live]) -> Asked {
    let known: HashMap<&str, &Live> = project.iter().map(|live| (live.id.as_str(), live)).collect();
    let mut asked = Asked::default();
    let mut seen = HashSet::new();
    let over = over(file, &known);
    for (id, task) in tasks(file) {
        if !seen.insert(id) {
            asked.refuse(id, "the id stands twice: the first counts".to_owned());
            continue;
        }
        match known.get(id) {
            Some(live) => asked.of_known(id, task, &over, agreed, live),
            // It was over before devstack came.
            None if over.contains(id) => {}
            None => {
                asked.words.push(Words::of(task, &over).wanted(id, text(task, "assigned"), true));
            }
        }
    }
    for live in project {
        let was_there = agreed.0.contains_key(&live.id);
        if was_there && !seen.contains(live.id.as_str()) && !is_over(&live.status) {
            let why = "a task is not removed by taking it out of the file: set it to REJECTED";
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
            self.refuse(id, format!("`{field}` was changed in the project too, which stays as it is there"));
        }
        let open = live.status == "BLOCKED" || (live.status == "TODO" && live.attempts == 0);
        if merged == now {
            self.orders.extend(order.map(|order| (id.to_owned(), order)));
        } else if open {
            // Other words are a retry too, if it is BLOCKED.
            self.words.push(merged.wanted(id, None, false));
        } else {
            self.refuse(id, format!("it is {} after {} attempts: what it is told stays", live.status, live.attempts));
            self.orders.extend(order.map(|order| (id.to_owned(), order)));
        }
    }

    /// The command that a changed status means.
    fn order(&mut self, id: &str, task: &Json, version: Option<&Version>, live: &Live) -> Option<Order> {
        let wanted = status(task).filter(|wanted| *wanted != live.status)?;
        // A status that the writer did not change is only old; without a version, one that knew the present state.
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
        self.refuse(id, format!("its status is {}, and becomes {wanted} by work alone", live.status));
        None
    }

    fn refuse(&mut self, id: &str, why: String) {
        self.refused.push((id.to_owned(), why));
    }
}

/// The file with what the project says, and the tasks that both say the same of then. A task that is not as it was in `processed`
/// was changed since and is left alone: it is asked about next time.
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

/// Brings what the project owns of a task up to date, and its words where they differ.
fn update(task: &mut Json, live: &Live, over: &HashSet<&str>) {
    let rendered = render::task(live);
    let words = Words::of(task, over) != Words::of_live(live);
    for (key, value) in rendered.fields() {
        let owned = match key.as_str() {
            "title" | "priority" | "dependencies" | "description" | "acceptance_criteria" | "technical_notes" => words,
            "id" => false,
            // The file's own until somebody works on it.
            "assigned" => live.agent.is_some(),
            "created" | "completed" => task.get(key).is_none_or(|there| *there == Json::Null),
            _ => true,
        };
        if owned && task.get(key) != Some(value) {
            task.set(key, value.clone());
        }
    }
}

/// What another writer changed from `base` to `theirs`, put into `ours`: tasks, fields of tasks, and other keys. Where both changed
/// the same, ours stays.
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
            // New with them, or changed by them and removed by us: nothing of theirs is lost.
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

/// The tasks that have an id, with it.
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

/// Is it a list that can be kept in step? An object whose `tasks`, if there, are a list.
pub fn is_list(document: &Json) -> bool {
    matches!(document, Json::Object(_)) && document.get("tasks").is_none_or(|tasks| matches!(tasks, Json::List(_)))
}

/// Will nothing more happen to it?
fn is_over(status: &str) -> bool {
    ["COMPLETED", "REJECTED"].contains(&status)
}

/// Tasks of the file that were over before devstack came: nobody waits for them.
fn over<'a>(file: &'a Json, known: &HashMap<&str, &Live>) -> HashSet<&'a str> {
    let is_over = |task: &Json| is_over(status(task).unwrap_or("TODO"));
    tasks(file).filter(|(id, task)| !known.contains_key(id) && is_over(task)).map(|(id, _)| id).collect()
}
