//! Writes `/devstack/in/task.json`, which describes the task to its agent, and the script of a check.
//! Deliberately absent: the prompt (a separate file), except the parts that did not fit into it, and secrets.

use devstack_dag::{
    attempt::{Order, Stage},
    ids::Text,
};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct TaskFile<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    project: &'a str,
    task: &'a str,
    title: &'a str,
    attempt: u32,
    agent: &'a str,
    role: &'a str,
    stage: &'static str,
    /// The author's full text, if the prompt contains only its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    dependencies: Vec<DependencyEntry>,
    /// Number of dependencies that are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    more_dependencies: u32,
    feedback: Vec<FeedbackEntry>,
    conflict: Option<ConflictEntry>,
}

#[derive(Serialize)]
struct DependencyEntry {
    id: String,
    title: String,
    /// What the agent reports to have done.
    summary: Option<String>,
}

#[derive(Serialize)]
struct FeedbackEntry {
    /// The attempt that it is about; 0 for a user's hint.
    attempt: u32,
    text: String,
}

#[derive(Serialize)]
struct ConflictEntry {
    base: String,
    ours: String,
    theirs: String,
    paths: Vec<String>,
    text: String,
}

/// The content of `task.json`. `read` returns the text of a [`Text`].
pub(super) fn task_json<E>(order: &Order, read: impl Fn(&Text) -> Result<String, E>) -> Result<Vec<u8>, E> {
    let feedback = order
        .feedback
        .iter()
        .map(|entry| Ok(FeedbackEntry { attempt: entry.attempt, text: read(&entry.text)? }))
        .collect::<Result<_, E>>()?;
    let dependencies = order
        .dependencies
        .iter()
        .map(|it| {
            let summary = it.summary.as_ref().map(&read).transpose()?;
            Ok(DependencyEntry { id: it.id.to_string(), title: it.title.to_string(), summary })
        })
        .collect::<Result<_, E>>()?;
    let prompt = order.whole_prompt.as_ref().map(&read).transpose()?;
    let conflict = order
        .conflict
        .as_ref()
        .map(|conflict| {
            Ok(ConflictEntry {
                base: conflict.base.to_string(),
                ours: conflict.ours.to_string(),
                theirs: conflict.theirs.to_string(),
                paths: conflict.paths.clone(),
                text: read(&conflict.text)?,
            })
        })
        .transpose()?;
    let file = TaskFile {
        api_version: "v1",
        project: order.attempt.task.project.as_str(),
        task: order.attempt.task.id.as_str(),
        title: &order.title,
        attempt: order.attempt.number,
        agent: order.agent.as_str(),
        role: order.role.as_str(),
        stage: match order.stage {
            Stage::Work => "work",
            Stage::Check => "check",
        },
        prompt,
        dependencies,
        more_dependencies: order.more_dependencies,
        feedback,
        conflict,
    };
    // A struct of strings and numbers always serializes.
    Ok(serde_json::to_vec_pretty(&file).unwrap_or_default())
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The prompt as the agent reads it. For an order from a Taskmaster with wire version 1 it is composed here: the task's
/// own text, then feedback from earlier attempts and users.
pub(super) fn prompt<E>(order: &Order, read: impl Fn(&Text) -> Result<String, E>) -> Result<String, E> {
    let mut prompt = read(&order.prompt)?;
    if order.composed {
        return Ok(prompt);
    }
    for (index, entry) in order.feedback.iter().enumerate() {
        if index == 0 {
            prompt.push_str("\n\n## What happened before\n");
        }
        let source = match entry.attempt {
            0 => "A person says".to_owned(),
            number => format!("Attempt {number}"),
        };
        prompt.push_str(&format!("\n### {source}\n{}\n", read(&entry.text)?));
    }
    Ok(prompt)
}

/// The lines of a check as one argv: each line runs in its own shell and is announced, and the first failure ends the
/// check.
pub(super) fn check_command(lines: &[String]) -> Vec<String> {
    let quote = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let script: String = lines
        .iter()
        .map(|line| {
            let line = quote(line);
            format!("printf '+ %s\\n' {line}\nsh -c {line} || {{ code=$?; printf 'check failed (exit %s): %s\\n' \"$code\" {line}; exit \"$code\"; }}\n")
        })
        .collect();
    vec!["sh".into(), "-c".into(), script]
}

#[cfg(test)]
mod tests {
    use super::check_command;

    fn run(lines: &[&str]) -> (Option<i32>, String) {
        let argv = check_command(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().expect("sh is there");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn the_first_failing_check_ends_the_script_and_is_named() {
        let (code, output) = run(&["echo 'one'", "false && true", "echo never"]);
        assert_eq!(code, Some(1));
        assert_eq!(output, "+ echo 'one'\none\n+ false && true\ncheck failed (exit 1): false && true\n");
    }

    #[test]
    fn checks_that_pass_exit_0() {
        assert_eq!(run(&["true", "exit 0"]).0, Some(0));
    }
}
