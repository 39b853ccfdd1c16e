//! A task of a list, and a reader of its fields that records everything that a plan cannot represent.
//! Deliberately absent: relations between tasks (`settle`).

use devstack_dag::plan::Priority;

use super::{
    brief::Brief,
    document::{self, Fields, Raw, Source},
    loss::Losses,
};

/// A list, as read.
#[derive(Default)]
pub(super) struct List {
    /// The tasks in their order.
    pub(super) items: Vec<Item>,
    /// The project's name, if the list has one.
    pub(super) project: Option<String>,
    /// Ideas without an id.
    pub(super) ideas: Vec<String>,
}

/// A task of a list.
pub(super) struct Item {
    /// Its id in the list.
    pub(super) id: String,
    /// Its line in the list.
    pub(super) line: Option<u32>,
    /// One line for people; may be empty or too long.
    pub(super) title: String,
    /// What to do.
    pub(super) brief: Brief,
    /// The priority.
    pub(super) priority: Priority,
    /// The assignee, as written in the list.
    pub(super) assigned: Option<String>,
    /// The ids of its dependencies.
    pub(super) needs: Vec<String>,
    /// Its state.
    pub(super) state: State,
    /// The state as written in the list.
    pub(super) status: String,
}

/// The state of a task, as far as it matters for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To do.
    Open,
    /// Done: dependents need not wait for it.
    Done,
    /// Removed from the list; treated as done.
    Deleted,
    /// Cancelled: its dependents never start.
    GivenUp,
    /// Deferred, together with its dependents.
    PutOff,
}

/// A reader of one task's fields.
pub(super) struct Reader<'a, 'i> {
    pub(super) source: &'a Source<'i>,
    pub(super) losses: &'a mut Losses,
    /// The task's id, for losses.
    pub(super) id: String,
    /// Its line in the list.
    pub(super) line: Option<u32>,
    /// Its fields.
    pub(super) fields: Fields<'i>,
}

impl<'i> Reader<'_, 'i> {
    /// Records a loss at a value.
    pub(super) fn lose(&mut self, at: Option<Raw<'i>>, field: &str, what: impl Into<String>) {
        let line = at.map_or(self.line, |raw| self.source.line(raw.get()));
        self.losses.add(line, Some(&self.id), field, what);
    }

    /// Reads a string; a list of strings becomes lines; anything else is a loss.
    pub(super) fn text(&mut self, key: &str) -> String {
        let Some(raw) = self.fields.take(key) else { return String::new() };
        document::lines(raw).unwrap_or_else(|| {
            self.lose(Some(raw), key, "not a string: left out");
            String::new()
        })
    }

    /// Reads a string or a number.
    pub(super) fn word(&mut self, key: &str) -> Option<String> {
        let raw = self.fields.take(key)?;
        let word = document::word(raw);
        if word.is_none() {
            self.lose(Some(raw), key, "neither a string nor a number: left out");
        }
        word
    }

    /// Reads the items of a list; a single value counts as a list of one.
    pub(super) fn items(&mut self, key: &str) -> Vec<Raw<'i>> {
        let Some(raw) = self.fields.take(key) else { return Vec::new() };
        document::items(raw).unwrap_or_else(|| vec![raw])
    }

    /// Reads ids of dependencies, as strings or numbers.
    pub(super) fn ids(&mut self, key: &str) -> Vec<String> {
        let mut ids = Vec::new();
        for raw in self.items(key) {
            match document::word(raw).map(|word| word.trim().to_owned()) {
                Some(word) if !word.is_empty() => ids.push(word),
                _ => self.lose(Some(raw), key, "not an id: left out"),
            }
        }
        ids
    }

    /// Records the remaining fields as losses. `history` are fields that devstack records itself.
    pub(super) fn finish(mut self, history: &[&str]) {
        let left: Vec<(String, Raw<'i>)> = self.fields.rest().map(|(key, raw)| (key.to_owned(), raw)).collect();
        for (key, raw) in left {
            if matches!(raw.get(), "null" | "[]" | "{}" | "\"\"") {
                continue;
            }
            let what = if history.contains(&key.as_str()) {
                "history, which devstack records itself: left out"
            } else {
                "a plan has no field for it: left out"
            };
            self.lose(Some(raw), &key, what);
        }
    }
}

/// Parses the word for a priority, in any case; `None`: unknown.
pub(super) fn priority(word: &str) -> Option<Priority> {
    match word.to_ascii_lowercase().as_str() {
        "critical" | "urgent" | "highest" => Some(Priority::Critical),
        "high" => Some(Priority::High),
        "medium" | "normal" => Some(Priority::Medium),
        "low" | "lowest" => Some(Priority::Low),
        _ => None,
    }
}

impl Reader<'_, '_> {
    /// Reads `priority` as a word; `otherwise` if it is missing.
    pub(super) fn priority(&mut self, otherwise: Priority) -> Priority {
        let raw = self.fields.peek("priority");
        let Some(word) = self.word("priority") else { return otherwise };
        priority(&word).unwrap_or_else(|| {
            self.lose(
                raw,
                "priority",
                format!("`{word}` is not a priority: {} instead", super::priority_word(otherwise)),
            );
            otherwise
        })
    }
}
