//! A task as it stands in a list, and reading its fields with everything noted that has no place.
//! Deliberately absent: what tasks are to each other (`settle`).

use devstack_dag::plan::Priority;

use super::{
    brief::Brief,
    document::{self, Fields, Raw, Source},
    loss::Losses,
};

/// A list as it was read.
#[derive(Default)]
pub(super) struct List {
    /// The tasks in their order.
    pub(super) items: Vec<Item>,
    /// The project's name, where the list has one.
    pub(super) project: Option<String>,
    /// Ideas without an id.
    pub(super) ideas: Vec<String>,
}

/// A task of a list.
pub(super) struct Item {
    /// Its id there.
    pub(super) id: String,
    /// Where it is.
    pub(super) line: Option<u32>,
    /// One line for people; may be empty or too long.
    pub(super) title: String,
    /// What is to be done.
    pub(super) brief: Brief,
    /// How urgent.
    pub(super) priority: Priority,
    /// Who is to do it, in the list's words.
    pub(super) assigned: Option<String>,
    /// Ids that it waits for.
    pub(super) needs: Vec<String>,
    /// How far it is.
    pub(super) state: State,
    /// The same in the list's word.
    pub(super) status: String,
}

/// How far a task is, as far as a plan cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To do.
    Open,
    /// Done: what waits for it need not.
    Done,
    /// Removed from the list: as done.
    Deleted,
    /// Will not be done: what waits for it never starts.
    GivenUp,
    /// Not to be done now, nor what waits for it.
    PutOff,
}

/// One task's fields being read.
pub(super) struct Reader<'a, 'i> {
    pub(super) source: &'a Source<'i>,
    pub(super) losses: &'a mut Losses,
    /// The task's id, for losses.
    pub(super) id: String,
    /// Where it is.
    pub(super) line: Option<u32>,
    /// Its fields.
    pub(super) fields: Fields<'i>,
}

impl<'i> Reader<'_, 'i> {
    /// Notes a loss at a value.
    pub(super) fn lose(&mut self, at: Option<Raw<'i>>, field: &str, what: impl Into<String>) {
        let line = at.map_or(self.line, |raw| self.source.line(raw.get()));
        self.losses.add(line, Some(&self.id), field, what);
    }

    /// A text; a list of texts becomes lines; anything else is lost.
    pub(super) fn text(&mut self, key: &str) -> String {
        let Some(raw) = self.fields.take(key) else { return String::new() };
        document::lines(raw).unwrap_or_else(|| {
            self.lose(Some(raw), key, "not a text: left out");
            String::new()
        })
    }

    /// A text or a number.
    pub(super) fn word(&mut self, key: &str) -> Option<String> {
        let raw = self.fields.take(key)?;
        let word = document::word(raw);
        if word.is_none() {
            self.lose(Some(raw), key, "neither a text nor a number: left out");
        }
        word
    }

    /// A list's items; a single value is a list of one.
    pub(super) fn items(&mut self, key: &str) -> Vec<Raw<'i>> {
        let Some(raw) = self.fields.take(key) else { return Vec::new() };
        document::items(raw).unwrap_or_else(|| vec![raw])
    }

    /// Ids that it waits for, as texts and numbers.
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

    /// Notes what is left. `history` are fields about the past, which devstack keeps itself.
    pub(super) fn finish(mut self, history: &[&str]) {
        let left: Vec<(String, Raw<'i>)> = self.fields.rest().map(|(key, raw)| (key.to_owned(), raw)).collect();
        for (key, raw) in left {
            if matches!(raw.get(), "null" | "[]" | "{}" | "\"\"") {
                continue;
            }
            let what = if history.contains(&key.as_str()) {
                "about the past, of which devstack keeps its own account: left out"
            } else {
                "a plan has no place for it: left out"
            };
            self.lose(Some(raw), &key, what);
        }
    }
}

/// The word for a priority, whatever its case; `None`: no such word.
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
    /// `priority` as a word; `otherwise` where there is none.
    pub(super) fn priority(&mut self, otherwise: Priority) -> Priority {
        let raw = self.fields.peek("priority");
        let Some(word) = self.word("priority") else { return otherwise };
        priority(&word).unwrap_or_else(|| {
            self.lose(raw, "priority", format!("`{word}` is no priority: {} instead", super::priority_word(otherwise)));
            otherwise
        })
    }
}
