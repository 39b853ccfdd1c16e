//! Imports and exports task lists of other tools. Dev_Stack's `tasks.json`, Task Master's `tasks.json` (tagged and
//! legacy) and beads' JSONL become [`Task`]s for a plan, with a [`Loss`] for everything that a plan cannot represent. A
//! project can be exported as `tasks.json`.
//! Deliberately absent: files, nodes and the plan's own format (the CLI and `config::plan_file`), and dependencies on
//! other modules of the product: the readers stand alone, so that the fuzzer builds nothing else.

mod beads;
mod brief;
mod dev_stack;
mod document;
mod ids;
mod item;
pub mod json;
mod loss;
pub mod merge;
#[cfg(test)]
mod merge_tests;
mod render;
mod settle;
mod task_master;
#[cfg(test)]
mod tests;
mod words;

pub use brief::{Brief, Criterion};
pub use document::Mistake;
pub use loss::{Loss, Losses};
pub use render::{Live, document, priority_word, task as render_task};
pub use settle::Task;

use document::Source;

/// The format of a task list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Dev_Stack's `tasks.json`: `tasks`, `backlog`, `metadata`.
    DevStack,
    /// Task Master's `tasks.json`: a list of tasks per tag, or the older format without tags.
    TaskMaster,
    /// beads' JSON lines: an issue on each line, or the list that `bd … --json` prints.
    Beads,
}

impl Format {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::DevStack => "Dev_Stack",
            Self::TaskMaster => "Task Master",
            Self::Beads => "beads",
        }
    }

    /// The field with the assignee of a task.
    pub fn assigned(self) -> &'static str {
        if self == Self::DevStack { "assigned" } else { "assignee" }
    }
}

/// What to import from a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// The format; `None`: detect it.
    pub format: Option<Format>,
    /// The tag of a Task Master list; required if there are several.
    pub tag: Option<&'a str>,
    /// Also import tasks that are done, cancelled or deferred.
    pub finished: bool,
    /// Also import the backlog, as tasks with low priority.
    pub backlog: bool,
}

/// An imported list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The format of the list.
    pub format: Format,
    /// The project's name, if the list has one; not checked.
    pub project: Option<String>,
    /// The tasks in the list's order. Ids are unique, every dependency is among the tasks, and there is no cycle.
    pub tasks: Vec<Task>,
    /// Ideas of the backlog that were left out.
    pub ideas: Vec<String>,
    /// What a plan cannot represent.
    pub losses: Losses,
}

/// Reads a task list.
///
/// # Errors
/// All mistakes: not a known format, duplicate ids, or tasks that depend on each other.
pub fn read(bytes: &[u8], choice: &Choice<'_>) -> Result<Imported, Vec<Mistake>> {
    let source = Source::new(bytes)?;
    let format = match choice.format {
        Some(format) => format,
        None => guess(&source)?,
    };
    let mut losses = Losses::default();
    let mut list = match format {
        Format::DevStack => dev_stack::read(&source, choice.backlog, &mut losses),
        Format::TaskMaster => task_master::read(&source, choice.tag, &mut losses),
        Format::Beads => beads::read(&source, &mut losses),
    }?;
    if let (Some(tag), false) = (choice.tag, format == Format::TaskMaster) {
        let message = format!("a {} list has no tags, so it has no tag `{tag}`", format.name());
        return Err(vec![Mistake::new(None, message).hint("leave out --tag")]);
    }
    let tasks = settle::settle(std::mem::take(&mut list.items), choice.finished, &mut losses)?;
    Ok(Imported { format, project: list.project, tasks, ideas: list.ideas, losses })
}

/// Detects the format.
fn guess(source: &Source<'_>) -> Result<Format, Vec<Mistake>> {
    if source.text().trim_start().starts_with('[') || source.first_line_is_issue() {
        return Ok(Format::Beads);
    }
    let fields = source.object()?;
    if task_master::looks_like(&fields) {
        return Ok(Format::TaskMaster);
    }
    if fields.has("tasks") || fields.has("backlog") {
        return Ok(Format::DevStack);
    }
    let hint = "a Dev_Stack list has `tasks`; a Task Master list has `tasks`, or tags with `tasks`; a beads list has an \
    issue on each line";
    Err(vec![Mistake::new(Some(1), "the format of this task list is unknown").hint(hint)])
}
