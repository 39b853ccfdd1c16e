//! Dev_Stack's `tasks.json`: `{"tasks": [...], "backlog": [...], "metadata": {...}}`. A task has `id`, `title`,
//! `status`, `assigned`, `priority`, `dependencies`, `description`, `acceptance_criteria` (strings, or objects with
//! `description` and `completed`) and `technical_notes`. The backlog has ideas as strings, or tasks.
//! Deliberately absent: writing the format (`render`).

use devstack_dag::plan::Priority;

use super::{
    brief::{Brief, Criterion},
    document::{self, Fields, Mistake, Raw, Source},
    item::{Item, List, Reader, State},
    loss::Losses,
};

/// Fields about the history of a task; devstack's own exports have the last six.
const HISTORY: [&str; 12] = [
    "created",
    "completed",
    "created_at",
    "completed_at",
    "updated_at",
    "files_changed",
    "branch",
    "attempts",
    "commit",
    "merge_commit",
    "blocked_reason",
    "updated",
];

/// Reads a list.
pub(super) fn read(source: &Source<'_>, backlog: bool, losses: &mut Losses) -> Result<List, Vec<Mistake>> {
    let mut fields = source.object()?;
    let (mut list, mut mistakes) = (List::default(), Vec::new());
    let tasks = entries(source, &mut fields, "tasks", &mut mistakes);
    let ideas = entries(source, &mut fields, "backlog", &mut mistakes);
    for raw in tasks {
        match item(source, raw, losses) {
            Ok(item) => list.items.push(item),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    for (number, raw) in ideas.into_iter().enumerate() {
        idea(source, raw, number + 1, backlog, &mut list, losses);
    }
    if let Some(mut metadata) = fields.take("metadata").and_then(document::fields) {
        list.project =
            ["project", "name", "project_name"].into_iter().find_map(|key| document::text(metadata.take(key)?));
        for (key, raw) in metadata.rest() {
            let what = "about the list itself: left out";
            losses.add(source.line(raw.get()), None, &format!("metadata.{key}"), what);
        }
    }
    for (key, raw) in fields.rest() {
        losses.add(source.line(raw.get()), None, key, "a plan has no field for it: left out");
    }
    if mistakes.is_empty() { Ok(list) } else { Err(mistakes) }
}

/// The entries of a list; empty if the list is missing.
fn entries<'i>(source: &Source<'i>, fields: &mut Fields<'i>, key: &str, mistakes: &mut Vec<Mistake>) -> Vec<Raw<'i>> {
    let Some(raw) = fields.take(key) else { return Vec::new() };
    document::items(raw).unwrap_or_else(|| {
        mistakes.push(Mistake::new(source.line(raw.get()), format!("`{key}` must be a list")));
        Vec::new()
    })
}

/// An entry of the backlog.
fn idea(source: &Source<'_>, raw: Raw<'_>, number: usize, wanted: bool, list: &mut List, losses: &mut Losses) {
    let line = source.line(raw.get());
    if let Some(text) = document::text(raw) {
        if !wanted {
            losses.add(line, None, "backlog", format!("left out: {}", first_line(&text)));
            return list.ideas.push(first_line(&text).to_owned());
        }
        let brief = Brief { description: text.clone(), ..Brief::default() };
        return list.items.push(Item {
            id: format!("B-{number:03}"),
            line,
            title: first_line(&text).to_owned(),
            brief,
            priority: Priority::Low,
            assigned: None,
            needs: Vec::new(),
            state: State::Open,
            status: "TODO".to_owned(),
        });
    }
    match item(source, raw, losses) {
        Ok(mut item) => {
            if item.state == State::Open && !wanted {
                list.ideas.push(format!("{}: {}", item.id, first_line(&item.title)));
                (item.state, item.status) = (State::PutOff, "in the backlog".to_owned());
            }
            list.items.push(item);
        }
        Err(_) => losses.add(line, None, "backlog", "neither a string nor a task: left out"),
    }
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

/// A task.
fn item(source: &Source<'_>, raw: Raw<'_>, losses: &mut Losses) -> Result<Item, Mistake> {
    let line = source.line(raw.get());
    let fields = document::fields(raw).ok_or_else(|| Mistake::new(line, "a task must be an object"))?;
    let id = fields.peek("id").and_then(document::word).map(|id| id.trim().to_owned()).unwrap_or_default();
    if id.is_empty() {
        return Err(Mistake::new(line, "a task has no `id`").hint("add an id, for example \"T-001\""));
    }
    let mut reader = Reader { source, losses, id: id.clone(), line, fields };
    reader.fields.take("id");
    let title = reader.text("title");
    let at = reader.fields.peek("status");
    let status = reader.word("status").unwrap_or_else(|| "TODO".to_owned());
    let state = state(&status);
    if state.is_none() {
        reader.lose(at, "status", format!("`{status}` is not a status: imported as TODO"));
    } else if state == Some(State::Open) && !status.eq_ignore_ascii_case("TODO") {
        reader.lose(at, "status", format!("{status}: the task starts again as TODO, from the integration branch"));
    }
    let brief = Brief {
        description: reader.text("description"),
        criteria: criteria(&mut reader),
        notes: reader.text("technical_notes"),
    };
    let item = Item {
        title,
        brief,
        priority: reader.priority(Priority::Medium),
        assigned: ["assigned", "assigned_to", "agent"].into_iter().fold(None, |found, key| found.or(reader.word(key))),
        needs: reader.ids("dependencies"),
        state: state.unwrap_or(State::Open),
        status,
        id,
        line,
    };
    reader.finish(&HISTORY);
    Ok(item)
}

fn criteria(reader: &mut Reader<'_, '_>) -> Vec<Criterion> {
    let mut criteria = Vec::new();
    for raw in reader.items("acceptance_criteria") {
        if let Some(text) = document::text(raw) {
            criteria.push(Criterion::open(text));
            continue;
        }
        let Some(mut fields) = document::fields(raw) else {
            reader.lose(Some(raw), "acceptance_criteria", "neither a string nor an object: left out");
            continue;
        };
        let text = ["description", "text", "title"].into_iter().find_map(|key| document::text(fields.take(key)?));
        let done =
            ["completed", "done"].into_iter().find_map(|key| fields.take(key)).is_some_and(|raw| raw.get() == "true");
        match text {
            Some(text) => criteria.push(Criterion { text, done }),
            None => reader.lose(Some(raw), "acceptance_criteria", "has no `description`: left out"),
        }
        // The number of a criterion is only its position in the list.
        fields.take("id");
        for (key, value) in fields.rest() {
            let line = reader.source.line(value.get());
            let field = format!("acceptance_criteria.{key}");
            reader.losses.add(line, Some(&reader.id), &field, "a plan has no field for it: left out");
        }
    }
    criteria
}

fn state(status: &str) -> Option<State> {
    match status.to_ascii_uppercase().as_str() {
        "TODO" | "WIP" | "TESTING" | "REVIEW" | "APPROVED" | "BLOCKED" => Some(State::Open),
        "COMPLETED" => Some(State::Done),
        "REJECTED" => Some(State::GivenUp),
        _ => None,
    }
}
