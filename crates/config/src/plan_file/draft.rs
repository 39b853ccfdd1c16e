//! Writes a plan file in the style of a person, so that people can read and change an imported plan.
//! Deliberately absent: defaults (they apply to what a draft leaves out), and checking ([`super::parse`] reads the
//! result).

use std::fmt::Write as _;

use devstack_dag::{ids::TaskId, plan::Priority};

use super::render;

/// `[project]` and one role of a new plan.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// The project.
    pub project: &'a str,
    /// Its repository; `None`: tasks are plain commands.
    pub repo: Option<&'a str>,
    /// The role that does every task.
    pub role: &'a str,
    /// What its agents run.
    pub agent: Agent<'a>,
}

/// What the agents of a role run.
#[derive(Debug, Clone, Copy)]
pub enum Agent<'a> {
    /// A profile.
    Profile(&'a str),
    /// A shell command.
    Command(&'a str),
}

/// A `[[task]]`.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// Its id.
    pub id: &'a TaskId,
    /// One line for people.
    pub title: &'a str,
    /// The prompt of the agent.
    pub prompt: &'a str,
    /// The tasks that must be completed first.
    pub dependencies: &'a [TaskId],
    /// The priority; `Medium` is not written.
    pub priority: Priority,
    /// Who does it; `None`: the plan's default role.
    pub executor: Option<Doer<'a>>,
}

/// Who does a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doer<'a> {
    /// An agent of this role.
    Role(&'a str),
    /// A person.
    Human,
}

/// The beginning of a new plan. `about`: comment lines.
pub fn head(head: &Head<'_>, about: &[String]) -> String {
    let mut text = comment(about);
    let _ = write!(text, "[project]\nname = {}\n", quoted(head.project));
    match head.repo {
        Some(repo) => _ = writeln!(text, "repo = {}", quoted(repo)),
        None => text.push_str("# repo = \".\"   # without a repository nothing is merged\n"),
    }
    let _ = write!(text, "\n[agents.{}]\n", head.role);
    match head.agent {
        Agent::Profile(profile) => {
            let _ = writeln!(text, "profile = {}", quoted(profile));
            text.push_str("network = \"bridge\"   # the agent must reach its model\n");
        }
        Agent::Command(command) => _ = writeln!(text, "command = [\"sh\", \"-c\", {}]", quoted(command)),
    }
    text
}

/// Tasks, to append to a plan.
pub fn tasks(drafts: &[Draft<'_>]) -> String {
    let mut text = String::new();
    for draft in drafts {
        let _ = write!(text, "\n[[task]]\nid = {}\n", quoted(draft.id.as_str()));
        let _ = writeln!(text, "title = {}", quoted(draft.title));
        if !draft.prompt.is_empty() {
            let _ = writeln!(text, "prompt = {}", block(draft.prompt));
        }
        if !draft.dependencies.is_empty() {
            let ids: Vec<String> = draft.dependencies.iter().map(|id| quoted(id.as_str())).collect();
            let _ = writeln!(text, "dependencies = [{}]", ids.join(", "));
        }
        if draft.priority != Priority::Medium {
            let _ = writeln!(text, "priority = {}", quoted(render::priority(draft.priority)));
        }
        match draft.executor {
            Some(Doer::Role(role)) => _ = writeln!(text, "role = {}", quoted(role)),
            Some(Doer::Human) => text.push_str("executor = \"human\"\n"),
            None => {}
        }
    }
    text
}

/// Comment lines. Control characters are replaced, so that no text can leave its line.
pub fn comment(lines: &[String]) -> String {
    let clean = |line: &str| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    lines.iter().map(|line| format!("# {}\n", clean(line))).collect()
}

/// A string on one line. Every JSON escape is also a TOML escape.
fn quoted(text: &str) -> String {
    // Serializing a string cannot fail.
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007F")
}

/// A string on several lines, if it has several lines.
fn block(text: &str) -> String {
    if !text.trim_end_matches('\n').contains('\n') {
        return quoted(text);
    }
    let mut body = String::with_capacity(text.len() + 16);
    let mut quotes = 0;
    for (at, c) in text.char_indices() {
        quotes = if c == '"' { quotes + 1 } else { 0 };
        match c {
            '\\' => body.push_str("\\\\"),
            '"' if quotes == 3 || at + 1 == text.len() => {
                body.push_str("\\\"");
                quotes = 0;
            }
            '\n' | '\t' => body.push(c),
            c if c.is_control() => _ = write!(body, "\\u{:04X}", c as u32),
            c => body.push(c),
        }
    }
    format!("\"\"\"\n{body}\"\"\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Posted, parse},
        *,
    };

    proptest! {
        #[test]
        fn what_is_written_is_read(
            prompt in "(\\PC|[\"\\\\\n\r\t\u{1}\u{7f}\u{85}]){0,40}",
            title in "[^\\p{Cc}]{1,20}",
            command in "(\\PC|[\"\\\\\n]){1,20}",
        ) {
            prop_assume!(!title.trim().is_empty() && !command.contains('\0'));
            let id = TaskId::new("a").unwrap();
            let about = [prompt.clone()];
            let text = head(&Head { project: "p", repo: None, role: "dev", agent: Agent::Command(&command) }, &about);
            let draft = Draft {
                id: &id,
                title: &title,
                prompt: &prompt,
                dependencies: &[],
                priority: Priority::Low,
                executor: Some(Doer::Role("dev")),
            };
            let text = text + &tasks(&[draft]);
            let plan = parse("p", &text, &Posted).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(&plan.project.roles[0].command[2], &command);
            let task = &plan.tasks[0];
            prop_assert_eq!(&*task.title, title.as_str());
            prop_assert_eq!(&task.prompt, &devstack_dag::ids::Text::Inline(prompt.into()));
            prop_assert_eq!(task.priority, Priority::Low);
        }
    }
}
