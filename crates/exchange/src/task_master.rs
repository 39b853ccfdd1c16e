//! Task Master's `tasks.json`: `{"master": {"tasks": [...]}, …}` by tag, or the older `{"tasks": [...]}`. Ids are
//! numbers or strings. A subtask becomes a separate task `5.2` (imported as `5-2`). Its parent depends on it, and it
//! depends on the dependencies of its parent. In a dependency of a subtask, the number `1` means the sibling `5.1` if
//! that exists; the string `5.2` means that subtask everywhere.
//! Deliberately absent: writing the format.

use std::collections::HashSet;

use devstack_dag::plan::Priority;

use super::{
    brief::{Brief, Criterion},
    document::{self, Fields, Mistake, Raw, Source},
    item::{Item, List, Reader, State},
    loss::Losses,
};

/// Fields about the history of a task, and about how the list was made.
const HISTORY: [&str; 11] = [
    "createdAt",
    "updatedAt",
    "completedAt",
    "effort",
    "actualEffort",
    "complexity",
    "complexityScore",
    "recommendedSubtasks",
    "expansionPrompt",
    "complexityReasoning",
    "databaseId",
];

/// Whether the list has tags, or its tasks have fields of Task Master.
pub(super) fn looks_like(fields: &Fields<'_>) -> bool {
    if !tags(fields).is_empty() {
        return true;
    }
    let tasks = fields.peek("tasks").and_then(document::items).unwrap_or_default();
    let mut opened = tasks.into_iter().filter_map(document::fields);
    !fields.has("backlog")
        && opened.any(|task| {
            let is = |key: &str, words: &[&str]| {
                task.peek(key).and_then(document::text).is_some_and(|word| words.contains(&word.as_str()))
            };
            ["details", "testStrategy", "subtasks"].iter().any(|key| task.has(key))
                || task.peek("id").is_some_and(|id| id.get().starts_with(|c: char| c.is_ascii_digit()))
                || is("status", &["pending", "in-progress", "done", "review", "deferred", "cancelled", "blocked"])
        })
}

/// The names of tags with tasks.
fn tags(fields: &Fields<'_>) -> Vec<String> {
    let has_tasks = |raw: Raw<'_>| {
        document::fields(raw).is_some_and(|tag| tag.peek("tasks").is_some_and(|tasks| tasks.get().starts_with('[')))
    };
    fields.rest().filter(|(_, raw)| has_tasks(raw)).map(|(name, _)| name.to_owned()).collect()
}

/// Reads a list.
pub(super) fn read(source: &Source<'_>, tag: Option<&str>, losses: &mut Losses) -> Result<List, Vec<Mistake>> {
    let mut fields = source.object()?;
    let tags = tags(&fields);
    let is_legacy = fields.peek("tasks").is_some_and(|tasks| tasks.get().starts_with('['));
    let mut chosen = match (tag, tags.as_slice()) {
        (None, []) if is_legacy => fields.clone(),
        (Some(tag), []) if is_legacy => {
            return Err(vec![
                Mistake::new(None, format!("there is no tag `{tag}`: the list has no tags")).hint("leave out --tag"),
            ]);
        }
        (None, _) if is_legacy => fields.clone(),
        (_, []) => {
            let hint = "a Task Master list has `tasks`, or tags with `tasks`";
            return Err(vec![Mistake::new(Some(1), "there is no list of `tasks`").hint(hint)]);
        }
        (None, [_, _, ..]) => {
            let message = format!("the list has several tags: {}", tags.join(", "));
            return Err(vec![Mistake::new(None, message).hint(format!("name a tag, for example --tag {}", tags[0]))]);
        }
        (tag, [first, ..]) => {
            let wanted = tag.unwrap_or(first);
            let found = tags.iter().any(|known| known == wanted).then(|| fields.take(wanted)).flatten();
            found.and_then(document::fields).ok_or_else(|| {
                let message = format!("there is no tag `{wanted}`");
                vec![Mistake::new(None, message).hint(format!("the tags are: {}", tags.join(", ")))]
            })?
        }
    };
    if !is_legacy {
        for (name, raw) in fields.rest() {
            losses.add(source.line(raw.get()), None, name, "another tag: import it with --tag into a separate project");
        }
    }
    let tasks = chosen.take("tasks").and_then(document::items).unwrap_or_default();
    let mut list = List { project: tag.map(str::to_owned), ..List::default() };
    if let Some(mut metadata) = chosen.take("metadata").or_else(|| chosen.take("meta")).and_then(document::fields) {
        list.project = metadata.take("projectName").and_then(document::text).or(list.project);
        for (key, raw) in metadata.rest() {
            losses.add(source.line(raw.get()), None, &format!("metadata.{key}"), "about the list itself: left out");
        }
    }
    for (key, raw) in chosen.rest() {
        losses.add(source.line(raw.get()), None, key, "a plan has no field for it: left out");
    }
    let mut mistakes = Vec::new();
    for raw in tasks {
        task(source, raw, &mut list, losses).unwrap_or_else(|mistake| mistakes.push(mistake));
    }
    if mistakes.is_empty() { Ok(list) } else { Err(mistakes) }
}

/// A task with its subtasks, which come before it.
fn task(source: &Source<'_>, raw: Raw<'_>, list: &mut List, losses: &mut Losses) -> Result<(), Mistake> {
    let (line, mut fields, id) = opened(source, raw)?;
    let subtasks = fields.take("subtasks");
    let mut reader = Reader { source, losses, id: id.clone(), line, fields };
    let needs = reader.ids("dependencies");
    let mut parent = item(reader, id.clone(), Priority::Medium);
    let mut opened_subtasks = Vec::new();
    for raw in subtasks.and_then(document::items).unwrap_or_default() {
        let (line, fields, number) = opened(source, raw)?;
        let whole = if number.contains('.') { number } else { format!("{id}.{number}") };
        opened_subtasks.push((line, fields, whole));
    }
    let siblings: HashSet<String> = opened_subtasks.iter().map(|(.., id)| id.clone()).collect();
    for (line, mut fields, sub) in opened_subtasks {
        if let Some(deeper) = fields.take("subtasks").filter(|raw| raw.get() != "[]") {
            losses.add(source.line(deeper.get()), Some(&sub), "subtasks", "subtasks of a subtask: left out");
        }
        // The position of the subtask already says this.
        for key in ["parentId", "parentTaskId"] {
            fields.take(key);
        }
        let mut reader = Reader { source, losses, id: sub.clone(), line, fields };
        let sibling = |need: String| {
            let whole = format!("{id}.{need}");
            if !need.contains('.') && whole != sub && siblings.contains(&whole) { whole } else { need }
        };
        let mut own: Vec<String> = reader.ids("dependencies").into_iter().map(sibling).collect();
        own.extend(needs.iter().filter(|need| !siblings.contains(*need) && **need != sub).cloned());
        own.dedup();
        let mut item = item(reader, sub.clone(), parent.priority);
        item.needs = own;
        // A subtask of a cancelled or deferred task is not done either.
        if matches!(parent.state, State::GivenUp | State::PutOff) && item.state == State::Open {
            (item.state, item.status) = (parent.state, format!("{} with its parent", parent.status));
        }
        list.items.push(item);
        parent.needs.push(sub);
    }
    parent.needs.splice(0..0, needs);
    let mut seen = HashSet::new();
    parent.needs.retain(|need| seen.insert(need.clone()));
    list.items.push(parent);
    Ok(())
}

fn opened<'i>(source: &Source<'i>, raw: Raw<'i>) -> Result<(Option<u32>, Fields<'i>, String), Mistake> {
    let line = source.line(raw.get());
    let mut fields = document::fields(raw).ok_or_else(|| Mistake::new(line, "a task must be an object"))?;
    let id = fields.take("id").and_then(document::word).map(|id| id.trim().to_owned()).unwrap_or_default();
    if id.is_empty() {
        return Err(
            Mistake::new(line, "a task has no `id`").hint("`task-master validate-dependencies` shows what is wrong")
        );
    }
    Ok((line, fields, id))
}

/// Reads everything except dependencies.
fn item(mut reader: Reader<'_, '_>, id: String, priority: Priority) -> Item {
    let at = reader.fields.peek("status");
    let status = reader.word("status").unwrap_or_else(|| "pending".to_owned());
    let state = match status.as_str() {
        "pending" => State::Open,
        "in-progress" | "review" | "blocked" => {
            reader.lose(at, "status", format!("{status}: the task starts again as TODO, from the integration branch"));
            State::Open
        }
        "done" | "completed" => State::Done,
        "cancelled" => State::GivenUp,
        "deferred" => State::PutOff,
        other => {
            reader.lose(at, "status", format!("`{other}` is not a status: imported as pending"));
            State::Open
        }
    };
    let (details, strategy) = (reader.text("details"), reader.text("testStrategy"));
    let strategy = if strategy.is_empty() { strategy } else { format!("### Test strategy\n\n{strategy}") };
    let parts = [details, strategy];
    let notes = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("\n\n");
    let criteria =
        reader.items("acceptanceCriteria").into_iter().filter_map(document::text).map(Criterion::open).collect();
    let item = Item {
        title: reader.text("title"),
        brief: Brief { description: reader.text("description"), criteria, notes },
        priority: reader.priority(priority),
        assigned: reader.word("assignee"),
        needs: Vec::new(),
        state,
        status,
        line: reader.line,
        id,
    };
    reader.finish(&HISTORY);
    item
}
