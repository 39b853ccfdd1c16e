//! beads: an issue on each line (`.beads/issues.jsonl`), or the list that `bd list --json` and `bd show --json` print.
//! Dependencies of an issue are written in three ways:
//! * edges, in the issue or on separate lines: `{"issue_id", "depends_on_id", "type"}`;
//! * issues in the issue: `{"id", …, "dependency_type"}`;
//! * only ids, in `dependencies`, `depends_on` or `blocked_by`.
//!
//! Only blocking edges are dependencies; `related`, `parent-child`, `discovered-from` and others are losses.
//! Deliberately absent: writing the format, and beads' databases (`bd export` writes the lines).

use devstack_dag::plan::Priority;

use super::{
    brief::{Brief, Criterion},
    document::{self, Fields, Mistake, Raw, Source},
    item::{Item, List, Reader, State},
    loss::Losses,
};

/// Fields about the history of an issue.
const HISTORY: [&str; 21] = [
    "created_at",
    "created_by",
    "updated_at",
    "closed_at",
    "close_reason",
    "closed_by_session",
    "deleted_at",
    "deleted_by",
    "delete_reason",
    "original_type",
    "content_hash",
    "source_repo",
    "compaction_level",
    "compacted_at",
    "compacted_at_commit",
    "original_size",
    "dependency_count",
    "dependent_count",
    "comment_count",
    "dependents",
    "owner",
];

/// A dependency between two issues.
struct Edge {
    from: String,
    to: String,
}

/// Reads a list.
pub(super) fn read(source: &Source<'_>, losses: &mut Losses) -> Result<List, Vec<Mistake>> {
    let (mut list, mut mistakes, mut edges) = (List::default(), Vec::new(), Vec::new());
    let mut take = |fields: Result<Fields<'_>, Vec<Mistake>>, text: &str| match fields {
        Err(wrong) => mistakes.extend(wrong),
        Ok(fields) if !fields.has("id") && fields.has("depends_on_id") => {
            edges.extend(edge(source, fields, "", text, losses));
        }
        Ok(fields) => match issue(source, fields, text, &mut edges, losses) {
            Ok(item) => list.items.push(item),
            Err(mistake) => mistakes.push(mistake),
        },
    };
    if source.text().trim_start().starts_with('[') {
        let issues: Vec<Raw<'_>> = source.read(source.text())?;
        issues.into_iter().for_each(|raw| take(source.read(raw.get()), raw.get()));
    } else {
        for line in source.text().split('\n').filter(|line| !line.trim().is_empty()) {
            take(source.read(line), line);
        }
    }
    if !mistakes.is_empty() {
        mistakes.truncate(100);
        return Err(mistakes);
    }
    let places: std::collections::HashMap<String, usize> =
        list.items.iter().enumerate().map(|(at, item)| (item.id.clone(), at)).collect();
    for Edge { from, to } in edges {
        match places.get(&from).map(|&at| &mut list.items[at]) {
            Some(item) => item.needs.push(to),
            None => losses.add(
                None,
                Some(&from),
                "dependencies",
                format!("there is no such issue: the dependency on {to} is left out"),
            ),
        }
    }
    Ok(list)
}

/// Reads an edge; `None` if it does not block.
fn edge(source: &Source<'_>, mut fields: Fields<'_>, owner: &str, at: &str, losses: &mut Losses) -> Option<Edge> {
    let mut word = |keys: &[&str]| keys.iter().find_map(|key| document::word(fields.take(key)?));
    let kind = word(&["type", "dependency_type"]).unwrap_or_else(|| "blocks".to_owned());
    let from = word(&["issue_id"]).unwrap_or_else(|| owner.to_owned());
    let to = word(&["depends_on_id", "depends_on", "id"]);
    let line = source.line(at);
    let Some(to) = to else {
        losses.add(line, Some(&from), "dependencies", "names no issue: left out");
        return None;
    };
    if ["blocks", "waits-for"].contains(&kind.as_str()) {
        return Some(Edge { from, to });
    }
    losses.add(line, Some(&from), "dependencies", format!("`{kind}` with {to} does not block: left out"));
    None
}

fn issue(
    source: &Source<'_>,
    mut fields: Fields<'_>,
    at: &str,
    edges: &mut Vec<Edge>,
    losses: &mut Losses,
) -> Result<Item, Mistake> {
    let line = source.line(at.trim_start());
    let id = fields.take("id").and_then(document::word).map(|id| id.trim().to_owned()).unwrap_or_default();
    if id.is_empty() {
        return Err(Mistake::new(line, "an issue has no `id`").hint("`bd export` writes whole issues"));
    }
    let mut reader = Reader { source, losses, id: id.clone(), line, fields };
    let mut needs = Vec::new();
    for key in ["dependencies", "depends_on", "blocked_by"] {
        for raw in reader.items(key) {
            if let Some(fields) = document::fields(raw) {
                edges.extend(edge(source, fields, &id, raw.get(), reader.losses));
            } else if let Some(word) = document::word(raw) {
                needs.push(word);
            } else {
                reader.lose(Some(raw), key, "neither an id nor an edge: left out");
            }
        }
    }
    let at = reader.fields.peek("status");
    let status = reader.word("status").unwrap_or_else(|| "open".to_owned());
    let state = match status.as_str() {
        "open" => State::Open,
        "in_progress" | "blocked" | "hooked" | "pinned" => {
            reader.lose(at, "status", format!("{status}: the task starts again as TODO, from the integration branch"));
            State::Open
        }
        "closed" => State::Done,
        "tombstone" => State::Deleted,
        "deferred" => State::PutOff,
        other => {
            reader.lose(at, "status", format!("`{other}` is not a status: imported as open"));
            State::Open
        }
    };
    if let Some(raw) = reader.fields.take("issue_type") {
        match document::text(raw).as_deref() {
            Some("epic") => reader.lose(
                Some(raw),
                "issue_type",
                "epic: imported as an ordinary task, which does not wait for its children",
            ),
            _ => reader.lose(Some(raw), "issue_type", "a plan has no task types: left out"),
        }
    }
    let (design, notes) = (reader.text("design"), reader.text("notes"));
    let headed = |head: &str, text: String| if text.is_empty() { text } else { format!("### {head}\n\n{text}") };
    let parts = [headed("Design", design), headed("Notes", notes)];
    let notes = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("\n\n");
    let item = Item {
        title: reader.text("title"),
        brief: Brief {
            description: reader.text("description"),
            criteria: criteria(&reader.text("acceptance_criteria")),
            notes,
        },
        priority: priority(&mut reader),
        assigned: reader.word("assignee"),
        needs,
        state,
        status,
        id,
        line,
    };
    reader.finish(&HISTORY);
    Ok(item)
}

/// Reads a priority: 0 is the most urgent; 3 and 4 both become low.
fn priority(reader: &mut Reader<'_, '_>) -> Priority {
    let at = reader.fields.peek("priority");
    let Some(word) = reader.word("priority") else { return Priority::Medium };
    match word.trim_start_matches(['P', 'p']) {
        "0" => Priority::Critical,
        "1" => Priority::High,
        "2" => Priority::Medium,
        "3" => Priority::Low,
        "4" => {
            reader.lose(at, "priority", "4 becomes low, like 3: there is no lower priority");
            Priority::Low
        }
        _ => super::item::priority(&word).unwrap_or_else(|| {
            reader.lose(at, "priority", format!("`{word}` is not a priority: medium instead"));
            Priority::Medium
        }),
    }
}

/// The items of a text that is only a list; else the whole text as one criterion.
fn criteria(text: &str) -> Vec<Criterion> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    let mut criteria: Vec<Criterion> = Vec::new();
    for line in text.lines() {
        let bullet = line.trim_start().strip_prefix(['-', '*', '•']).or_else(|| {
            let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
            (digits.len() < line.len()).then(|| digits.strip_prefix(['.', ')'])).flatten()
        });
        match (bullet.and_then(|rest| rest.strip_prefix(' ')), criteria.last_mut()) {
            (Some(rest), _) => {
                let rest = rest.trim();
                let boxed = [("[ ]", false), ("[x]", true), ("[X]", true)];
                let boxed = boxed.iter().find_map(|(mark, done)| Some((rest.strip_prefix(mark)?.trim_start(), *done)));
                let (text, done) = boxed.unwrap_or((rest, false));
                criteria.push(Criterion { text: text.to_owned(), done });
            }
            (None, Some(last)) => {
                last.text.push('\n');
                last.text.push_str(line.trim());
            }
            (None, None) => return vec![Criterion::open(text)],
        }
    }
    criteria
}
