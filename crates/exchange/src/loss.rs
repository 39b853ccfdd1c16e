//! Losses of an import or an export: the place of each, and what happened to it.

use serde::Serialize;

/// Something in a list that a plan cannot represent, or the reverse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The line in the list, from 1.
    pub line: Option<u32>,
    /// The task, by its id in the list; `None`: the list itself.
    pub task: Option<String>,
    /// The field.
    pub field: String,
    /// What happened to it, in a sentence.
    pub what: String,
}

/// Losses in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    kept: Vec<Loss>,
    /// Losses beyond [`Losses::KEPT`].
    pub more: u64,
}

impl Losses {
    /// The most losses that are kept. More are only counted: nobody reads them, and a hostile list could have millions.
    pub const KEPT: usize = 10_000;

    /// Records a loss.
    pub fn add(&mut self, line: Option<u32>, task: Option<&str>, field: &str, what: impl Into<String>) {
        if self.kept.len() >= Self::KEPT {
            self.more += 1;
            return;
        }
        self.kept.push(Loss { line, task: task.map(str::to_owned), field: field.to_owned(), what: what.into() });
    }

    /// The kept losses.
    pub fn as_slice(&self) -> &[Loss] {
        &self.kept
    }

    /// Lines for people. Equal losses of several tasks share one line.
    pub fn told(&self, file: &str) -> Vec<String> {
        /// The most ids on a line; more would fill the screen.
        const NAMED_MAX: usize = 8;
        let mut order: Vec<(&Loss, Vec<&Loss>)> = Vec::new();
        let mut index = std::collections::HashMap::new();
        for loss in &self.kept {
            let at = *index.entry((&loss.field, &loss.what, loss.task.is_some())).or_insert(order.len());
            match order.get_mut(at) {
                Some((_, same)) => same.push(loss),
                None => order.push((loss, vec![loss])),
            }
        }
        let line = |(first, same): &(&Loss, Vec<&Loss>)| {
            let place = first.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
            let mut ids: Vec<&str> = same.iter().filter_map(|loss| loss.task.as_deref()).take(NAMED_MAX).collect();
            let rest = same.len().saturating_sub(NAMED_MAX);
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            ids.dedup();
            let of = if ids.is_empty() { String::new() } else { format!(" of {}{rest}", ids.join(", ")) };
            format!("{place}: `{}`{of}: {}", first.field, first.what)
        };
        let mut lines: Vec<String> = order.iter().map(line).collect();
        if self.more > 0 {
            lines.push(format!("{file}: and {} more", self.more));
        }
        lines
    }
}
