//! The texts of a task in one form for the file and the project, so that both can be compared.
//! Deliberately absent: the progress of a task (it belongs to the project), and other fields (they belong to the file).

use std::collections::HashSet;

use devstack_dag::plan::Priority;

use super::{Brief, Criterion, Live, item::priority, json::Json, merge::Wanted};

/// The texts of a task.
#[derive(Debug, Clone)]
pub(super) struct Words {
    title: String,
    brief: Brief,
    priority: Priority,
    dependencies: Vec<String>,
}

impl PartialEq for Words {
    /// Ignores ticked boxes: agents tick them while they work.
    fn eq(&self, other: &Self) -> bool {
        self.differing(other).is_empty()
    }
}

impl Words {
    /// The texts of a task in the file. Dependencies on tasks in `over` do not count: they were finished before the
    /// first synchronization.
    pub(super) fn of(task: &Json, over: &HashSet<&str>) -> Self {
        let text = |key: &str| task.get(key).map(lines).unwrap_or_default();
        let title: String = text("title").trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let title = if title.is_empty() { text("id") } else { title };
        let criteria = task.get("acceptance_criteria").map(Json::items).unwrap_or_default();
        let brief = Brief {
            description: text("description"),
            criteria: criteria.iter().filter_map(criterion).collect(),
            notes: text("technical_notes"),
        };
        let mut seen = HashSet::new();
        let needs = task.get("dependencies").map(Json::items).unwrap_or_default().iter().map(lines);
        let dependencies = needs
            .filter(|need| !need.is_empty() && !over.contains(need.as_str()) && seen.insert(need.clone()))
            .collect();
        let word = task.get("priority").and_then(Json::as_text).and_then(priority);
        Self { title, brief, priority: word.unwrap_or(Priority::Medium), dependencies }
    }

    /// The texts of a task in the project.
    pub(super) fn of_live(live: &Live) -> Self {
        Self {
            title: live.title.clone(),
            brief: Brief::of(&live.prompt),
            priority: live.priority,
            dependencies: live.dependencies.clone(),
        }
    }

    /// The fields that differ.
    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let texts = |words: &Self| words.brief.criteria.iter().map(|it| it.text.clone()).collect::<Vec<_>>();
        let fields = [
            ("title", self.title != other.title),
            ("description", self.brief.description != other.brief.description),
            ("acceptance_criteria", texts(self) != texts(other)),
            ("technical_notes", self.brief.notes != other.brief.notes),
            ("priority", self.priority != other.priority),
            ("dependencies", self.dependencies != other.dependencies),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }

    /// Merges these texts of the file with the project's, relative to their common base. Also returns the fields that
    /// both changed differently; they keep the project's value.
    pub(super) fn merged(&self, base: &Self, project: &Self) -> (Self, Vec<&'static str>) {
        let (mine, theirs, apart) = (self.differing(base), project.differing(base), self.differing(project));
        let mut merged = project.clone();
        let mut both = Vec::new();
        for field in mine {
            if theirs.contains(&field) {
                both.extend(apart.contains(&field).then_some(field));
                continue;
            }
            match field {
                "title" => merged.title = self.title.clone(),
                "description" => merged.brief.description = self.brief.description.clone(),
                "acceptance_criteria" => merged.brief.criteria = self.brief.criteria.clone(),
                "technical_notes" => merged.brief.notes = self.brief.notes.clone(),
                "priority" => merged.priority = self.priority,
                _ => merged.dependencies = self.dependencies.clone(),
            }
        }
        (merged, both)
    }

    /// The task that the texts request.
    pub(super) fn wanted(self, id: &str, assigned: Option<&str>, new: bool) -> Wanted {
        Wanted {
            id: id.to_owned(),
            new,
            title: self.title,
            prompt: self.brief.prompt(),
            priority: self.priority,
            assigned: assigned.map(str::to_owned),
            dependencies: self.dependencies,
        }
    }
}

/// A string, a number, or a list of strings as lines.
fn lines(value: &Json) -> String {
    match value {
        Json::Text(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        Json::List(items) => {
            items.iter().filter_map(Json::as_text).map(|text| format!("- {text}")).collect::<Vec<_>>().join("\n")
        }
        Json::Null | Json::Bool(_) | Json::Object(_) => String::new(),
    }
}

fn criterion(value: &Json) -> Option<Criterion> {
    if let Some(text) = value.as_text() {
        return Some(Criterion::open(text));
    }
    let text = ["description", "text", "title"].into_iter().find_map(|key| value.get(key)?.as_text())?;
    let done = ["completed", "done"].into_iter().any(|key| value.get(key) == Some(&Json::Bool(true)));
    Some(Criterion { text: text.to_owned(), done })
}
