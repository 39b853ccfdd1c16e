//! Task lists of other tools, in and out: Dev_Stack's `tasks.json`, Task Master's (tagged and legacy) and beads' JSONL become
//! [`Task`]s that a plan can have, with a [`Loss`] for everything that had no place; a project becomes a `tasks.json` again.
//! Deliberately absent: files, nodes and the plan's own format (the CLI and `config::plan_file`), and any other module of the
//! product: the readers stand alone, so that the fuzzer builds nothing else.

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

/// Whose task list it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Dev_Stack's `tasks.json`: `tasks`, `backlog`, `metadata`.
    DevStack,
    /// Task Master's `tasks.json`: a list of tasks by tag, or the older one without tags.
    TaskMaster,
    /// JSON lines of beads: an issue on each, or the list that `bd … --json` prints.
    Beads,
}

impl Format {
    /// Its name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::DevStack => "Dev_Stack",
            Self::TaskMaster => "Task Master",
            Self::Beads => "beads",
        }
    }

    /// The field that says who is to do a task.
    pub fn assigned(self) -> &'static str {
        if self == Self::DevStack { "assigned" } else { "assignee" }
    }
}

/// What to take of a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// Whose list it is; `None`: as it looks.
    pub format: Option<Format>,
    /// The tag of a Task Master list; needed when it has several.
    pub tag: Option<&'a str>,
    /// Take tasks too that are done, given up or put off.
    pub finished: bool,
    /// Take the backlog's ideas too, as tasks of low priority.
    pub backlog: bool,
}

/// What a list becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Whose it was.
    pub format: Format,
    /// The project's name, where the list has one; not checked.
    pub project: Option<String>,
    /// The tasks in the list's order. No id stands twice, every dependency is among them, and there is no cycle.
    pub tasks: Vec<Task>,
    /// Ideas of the backlog that were left out.
    pub ideas: Vec<String>,
    /// What had no place.
    pub losses: Losses,
}

/// Reads a task list.
///
/// # Errors
/// What is wrong with it: not a list of such a tool, ids that stand twice, tasks that wait for each other.
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
        let message = format!("a {} list has no tags, so there is no `{tag}`", format.name());
        return Err(vec![Mistake::new(None, message).hint("leave --tag out")]);
    }
    let tasks = settle::settle(std::mem::take(&mut list.items), choice.finished, &mut losses)?;
    Ok(Imported { format, project: list.project, tasks, ideas: list.ideas, losses })
}

/// Whose list it looks like.
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
    let hint =
        "Dev_Stack's has `tasks`; Task Master's has `tasks`, or tags with `tasks`; beads' has an issue on each line";
    Err(vec![Mistake::new(Some(1), "this is no task list that devstack knows").hint(hint)])
}
