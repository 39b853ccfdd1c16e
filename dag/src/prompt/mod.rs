//! The prompt of an attempt: one pure function from the known state of a task to the text that its agent reads, on
//! standard input and in `prompt.md`. What stays the same from attempt to attempt comes first, so that prompt caches of
//! models hit; the history comes last. Text by other agents is quoted as data, in fences that it cannot close.
//!
//! Deliberately absent: reading blobs (the shell passes a reader), secrets, and anything about hosts or names of
//! agents: the same task gives the same prompt wherever it runs.

mod quote;
mod template;

use crate::{
    attempt::{Dependency, Feedback},
    ids::Text,
};
use quote::{cut, fenced, one_line};
pub use template::{Flaw, check};

/// The template of projects without a template of their own.
pub const DEFAULT: &str = include_str!("default.md");
/// The longest template of a project, in bytes.
pub const TEMPLATE_MAX: usize = 8 << 10;
/// The longest prompt of an agent, in bytes: about 16,000 tokens, which leaves room for work in every model's context.
pub const PROMPT_MAX: usize = 64 << 10;
/// The most bytes about one dependency.
const SUMMARY_MAX: usize = 1 << 10;
/// The most bytes about all dependencies.
const DEPENDENCIES_MAX: usize = 16 << 10;
/// The most bytes about one earlier attempt.
const ENTRY_MAX: usize = 8 << 10;
/// The most bytes about the whole history.
const FEEDBACK_MAX: usize = 16 << 10;
/// The end of a task's text that was cut.
const CUT: &str =
    "\n\n(This text is longer. The whole of it is `prompt` in `$DEVSTACK_TASK_FILE`, `/devstack/in/task.json`.)";

/// The parts of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// The task's title.
    pub title: String,
    /// The text of its author; may be empty.
    pub prompt: Text,
    /// The dependencies, in the order of the plan.
    pub dependencies: Vec<Dependency>,
    /// The number of further dependencies.
    pub more_dependencies: u32,
    /// Feedback of earlier attempts and users, oldest first.
    pub feedback: Vec<Feedback>,
    /// The project's template; `None`: [`DEFAULT`].
    pub template: Option<Text>,
}

/// A composed prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// At most [`PROMPT_MAX`] bytes.
    pub text: String,
    /// Whether the task's own text was cut: the agent must read it elsewhere.
    pub is_cut: bool,
}

/// Composes the prompt of a brief. `read` returns the text behind a [`Text`].
///
/// # Errors
/// The error of `read`.
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
    // A template without a title must not produce an empty prompt.
    let own = if own.is_empty() && !template::names(template, "title") { title.as_str() } else { own };
    let whole = fill(own);
    if whole.len() <= PROMPT_MAX {
        return Ok(Composed { text: whole, is_cut: false });
    }
    // The template may name the value more than once.
    let times = template::count(template, "prompt").max(1);
    let others = whole.len().saturating_sub(own.len() * times);
    let room = (PROMPT_MAX.saturating_sub(others) / times).saturating_sub(CUT.len());
    let mut text = fill(&format!("{}{CUT}", &own[..own.floor_char_boundary(room)]));
    text.truncate(text.floor_char_boundary(PROMPT_MAX));
    Ok(Composed { text, is_cut: true })
}

/// A line per dependency, and below it the summary of what was done.
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

/// The newest entries that fit, oldest first.
fn feedback<E>(list: &[Feedback], read: &impl Fn(&Text) -> Result<String, E>) -> Result<String, E> {
    let (mut entries, mut left) = (Vec::new(), FEEDBACK_MAX);
    for entry in list.iter().rev() {
        let said = read(&entry.text)?;
        let said = cut(said.trim(), ENTRY_MAX);
        let text = match entry.attempt {
            // A user's words are meant for the agent.
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
