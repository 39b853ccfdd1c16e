//! The prompt of an attempt: one pure function from what is known of a task to the text that its agent reads, on standard
//! input and in `prompt.md`. What stays the same from attempt to attempt comes first, so that caches of models hit; what
//! happened before comes last. Text that agents wrote is quoted as data, in fences that it cannot end.
//!
//! Deliberately absent: reading blobs (the shell passes a reader), secrets, and anything about hosts or agents' names:
//! the same task gives the same prompt wherever it runs.

mod quote;
mod template;

use crate::{
    attempt::{Dependency, Feedback},
    ids::Text,
};
use quote::{cut, fenced, one_line};
pub use template::{Flaw, check};

/// The template of projects that bring none.
pub const DEFAULT: &str = include_str!("default.md");
/// The longest template of a project, in bytes.
pub const TEMPLATE_MAX: usize = 8 << 10;
/// The longest prompt of an agent, in bytes: about 16,000 tokens, with room left for its work in every model's context.
pub const PROMPT_MAX: usize = 64 << 10;
/// What is told of one dependency, in bytes.
const SUMMARY_MAX: usize = 1 << 10;
/// What is told of all dependencies, in bytes.
const DEPENDENCIES_MAX: usize = 16 << 10;
/// What is told of one earlier attempt, in bytes.
const ENTRY_MAX: usize = 8 << 10;
/// What is told of all that happened before, in bytes.
const FEEDBACK_MAX: usize = 16 << 10;
/// Stands at the end of a task's text that is too long.
const CUT: &str =
    "\n\n(This text is longer. The whole of it is `prompt` in `$DEVSTACK_TASK_FILE`, `/devstack/in/task.json`.)";

/// What a prompt is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// The task's title.
    pub title: String,
    /// What its author wrote; may be empty.
    pub prompt: Text,
    /// The tasks that it builds on, in the order of the plan.
    pub dependencies: Vec<Dependency>,
    /// So many more of them.
    pub more_dependencies: u32,
    /// What earlier attempts and people said, oldest first.
    pub feedback: Vec<Feedback>,
    /// The project's template; `None`: [`DEFAULT`].
    pub template: Option<Text>,
}

/// A prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// At most [`PROMPT_MAX`] bytes.
    pub text: String,
    /// The task's own text did not fit: the agent must get it elsewhere.
    pub is_cut: bool,
}

/// The prompt that a brief makes. `read` gives the text behind a [`Text`].
///
/// # Errors
/// What `read` says.
pub fn compose<E>(brief: &Brief, read: impl Fn(&Text) -> Result<String, E>) -> Result<Composed, E> {
    let own = read(&brief.prompt)?;
    let template = brief.template.as_ref().map(&read).transpose()?;
    let template = template.as_deref().unwrap_or(DEFAULT);
    let title = one_line(&brief.title);
    let dependencies = dependencies(brief, &read)?;
    let feedback = feedback(&brief.feedback, &read)?;
    let own = own.trim_end();
    let fill = |prompt: &str| {
        let text = template::fill(template, |name| match name {
            "title" => title.as_str(),
            "prompt" => prompt,
            "dependencies" => dependencies.as_str(),
            "feedback" => feedback.as_str(),
            _ => "",
        });
        format!("{}\n", text.trim_end())
    };
    // A template without a title must not make a prompt of nothing.
    let own = if own.is_empty() && !template::names(template, "title") { title.as_str() } else { own };
    let whole = fill(own);
    if whole.len() <= PROMPT_MAX {
        return Ok(Composed { text: whole, is_cut: false });
    }
    // The template may name it more than once.
    let times = template::count(template, "prompt").max(1);
    let others = whole.len().saturating_sub(own.len() * times);
    let room = (PROMPT_MAX.saturating_sub(others) / times).saturating_sub(CUT.len());
    let mut text = fill(&format!("{}{CUT}", &own[..own.floor_char_boundary(room)]));
    text.truncate(text.floor_char_boundary(PROMPT_MAX));
    Ok(Composed { text, is_cut: true })
}

/// A line for each dependency, and the summary of what was done below it.
fn dependencies<E>(brief: &Brief, read: &impl Fn(&Text) -> Result<String, E>) -> Result<String, E> {
    let mut text = String::new();
    let (mut left, mut more) = (DEPENDENCIES_MAX, brief.more_dependencies as usize);
    for (index, dependency) in brief.dependencies.iter().enumerate() {
        let mut entry = format!("* {}: {}\n", dependency.id, one_line(&dependency.title));
        let summary = dependency.summary.as_ref().map(read).transpose()?.unwrap_or_default();
        if !summary.trim().is_empty() {
            entry.push_str(&fenced(&cut(summary.trim(), SUMMARY_MAX)));
        }
        if entry.len() > left {
            more += brief.dependencies.len() - index;
            break;
        }
        left -= entry.len();
        text.push_str(&entry);
    }
    if more > 0 {
        text.push_str(&format!("* and {more} more: `dependencies` in `$DEVSTACK_TASK_FILE`\n"));
    }
    Ok(text.trim_end().to_owned())
}

/// The newest that fit, oldest first.
fn feedback<E>(list: &[Feedback], read: &impl Fn(&Text) -> Result<String, E>) -> Result<String, E> {
    let (mut entries, mut left) = (Vec::new(), FEEDBACK_MAX);
    for entry in list.iter().rev() {
        let said = read(&entry.text)?;
        let said = cut(said.trim(), ENTRY_MAX);
        let text = match entry.attempt {
            // A person's words are meant for the agent.
            0 => format!("### A person says\n{said}\n"),
            number => format!("### Attempt {number}\n{}", fenced(&said)),
        };
        if text.len() > left {
            break;
        }
        left -= text.len();
        entries.push(text);
    }
    entries.reverse();
    Ok(entries.join("\n").trim_end().to_owned())
}

#[cfg(test)]
mod tests;
