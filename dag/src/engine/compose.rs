//! Texts, names and sizes that the engine makes: feedback, resolution tasks, a user's attempt, estimates in bytes.
//! Everything is bounded here, so that facts and records stay within 16 KiB.

use std::collections::HashMap;

use super::state::{Task, TaskIx};
use crate::{
    attempt::{Conflict, Feedback, Left, Outcome, Stage},
    ids::{AgentName, HostName, MAX_NAME, RoleName, TaskId, Text, Timestamp},
    plan::{Executor, Priority, ProjectSpec, RetryFrom, TaskSpec},
};

/// The agent name of a user's result. No agent has this name: names of agents end with a number.
pub(super) fn person_agent() -> AgentName {
    AgentName::new("human").expect("a valid name")
}

/// The host name of a user's result.
pub(super) fn person_host() -> HostName {
    HostName::new("human").expect("a valid name")
}

/// The role of a user's attempt in a project without roles.
pub(super) fn person_role() -> RoleName {
    RoleName::new("human").expect("a valid name")
}

/// The first `max` bytes, on a character boundary.
pub(super) fn head(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The last `max` bytes, on a character boundary.
fn tail(text: &str, max: usize) -> &str {
    let mut start = text.len().saturating_sub(max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// An inline text, cut to the inline limit.
pub(super) fn inline(text: &str) -> Text {
    Text::Inline(head(text, Text::INLINE_MAX).into())
}

/// A text by others; an inline text is cut to this many bytes.
pub(super) fn short(text: Text, max: usize) -> Text {
    match text {
        Text::Inline(text) if text.len() > max => Text::Inline(head(&text, max).into()),
        other => other,
    }
}

/// Feedback about a charged attempt for the next attempt. An inline output becomes part of the sentence, with its end
/// kept; a blob becomes an entry of its own.
pub(super) fn feedback(attempt: u32, said: &str, output: &Text) -> Vec<Feedback> {
    match output {
        Text::Inline(output) if !output.trim().is_empty() => {
            let intro = format!("{}. The end of its output:\n", head(said, Text::INLINE_MAX / 2));
            let text = format!("{intro}{}", tail(output.trim_end(), Text::INLINE_MAX - intro.len()));
            vec![Feedback { attempt, text: Text::Inline(text.into()) }]
        }
        Text::Inline(_) => vec![Feedback { attempt, text: inline(&format!("{said}.")) }],
        blob @ Text::Blob(..) => {
            let said = inline(&format!("{said}. The end of its output follows."));
            vec![Feedback { attempt, text: said }, Feedback { attempt, text: blob.clone() }]
        }
    }
}

/// How an attempt ended and which files could not be taken, for its feedback.
pub(super) fn describe(number: u32, stage: Stage, outcome: &Outcome, task: &Task, left: &Left) -> String {
    let what = match stage {
        Stage::Work => "agent",
        Stage::Check => "checks on the merged tree",
    };
    let how = match outcome {
        Outcome::Exited(0) => without_result(left),
        Outcome::Exited(code) => format!("failed with exit code {code}"),
        Outcome::Signalled(signal) => format!("was ended by signal {signal}"),
        Outcome::TimedOut => format!("ran longer than its timeout of {} s", task.spec.timeout_ms / 1000),
        Outcome::Stalled => format!("produced no output and used no CPU for {} s", task.spec.idle_timeout_ms / 1000),
        Outcome::OutOfMemory => "used more memory than allowed".to_owned(),
        Outcome::OutOfDisk => "wrote more to disk than allowed".to_owned(),
        Outcome::OutOfProcesses => "needed more processes than allowed".to_owned(),
        Outcome::Stopped => "was stopped".to_owned(),
        Outcome::Infrastructure(why) => format!("failed for a reason outside the task: {why}"),
        Outcome::Policy(finding) => format!("was refused: {finding}"),
        Outcome::RateLimited { .. } => "was refused by the model provider, whose limit is reached".to_owned(),
    };
    let not_taken = not_taken(left).map_or_else(String::new, |list| format!("; not taken: {list}"));
    format!("Attempt {number} ({what}) {how}{not_taken}")
}

/// Why an attempt that exited with 0 has no result.
fn without_result(left: &Left) -> String {
    if left.destroyed().is_some() {
        return "exited with 0, but destroyed the repository of its workspace, so its work could not be taken"
            .to_owned();
    }
    if !left.branches.is_empty() {
        let names = branches(left);
        return format!(
            "exited with 0 but left nothing on its own branch: its commits are on {names}, and it is unclear which of \
                        them is the result"
        );
    }
    if left.skipped.is_empty() && left.more == 0 {
        return "exited with 0 but changed nothing".to_owned();
    }
    "exited with 0, but none of its files could be taken".to_owned()
}

/// The most entries to name in a sentence, and their bytes together; further entries are counted.
const NAMED: (usize, usize) = (5, 400);

/// Paths that could not be taken, and why; `None`: all were taken.
pub(super) fn not_taken(left: &Left) -> Option<String> {
    let all = left.skipped.iter().map(|one| format!("{} ({})", one.path, one.why));
    (!left.skipped.is_empty() || left.more > 0).then(|| named(all, left.skipped.len() + left.more as usize))
}

/// The names of other branches.
pub(super) fn branches(left: &Left) -> String {
    named(left.branches.iter().map(|branch| branch.name.to_string()), left.branches.len())
}

fn named(all: impl Iterator<Item = String>, count: usize) -> String {
    let mut sum = 0;
    let fits = all.take(NAMED.0).take_while(|one| {
        let first = sum == 0;
        sum += one.len();
        first || sum <= NAMED.1
    });
    let mut list: Vec<String> = fits.collect();
    if count > list.len() {
        list.push(format!("{} more", count - list.len()));
    }
    list.join(", ")
}

/// An outcome with its text bounded.
pub(super) fn bounded(outcome: Outcome, max: usize) -> Outcome {
    match outcome {
        Outcome::Infrastructure(why) => Outcome::Infrastructure(head(&why, max).to_owned()),
        Outcome::Policy(finding) => Outcome::Policy(head(&finding, max).to_owned()),
        other => other,
    }
}

/// A time as RFC 3339, in UTC, to the second.
pub(super) fn utc(at: Timestamp) -> String {
    let (days, seconds) = ((at.0 / 86_400_000) as i64, at.0 / 1000 % 86_400);
    // Days to a date of the Gregorian calendar, by eras of 400 years that begin with March.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Keeps the newest entries within the limits; the newest entry always stays.
pub(super) fn trim_feedback(list: &mut Vec<Feedback>, kept: usize, bytes: usize) {
    let mut sum = 0;
    let fits = list.iter().rev().take(kept).take_while(|entry| {
        let first = sum == 0;
        sum += text_bytes(&entry.text);
        first || sum <= bytes
    });
    let keep = fits.count();
    list.drain(..list.len() - keep);
}

/// A conflict with bounded lists and texts.
pub(super) fn bounded_conflict(mut conflict: Conflict, (count, bytes): (usize, usize)) -> Conflict {
    let mut sum = 0;
    let fits = conflict.paths.iter().take(count).take_while(|path| {
        sum += path.len() + 9;
        sum <= bytes
    });
    let keep = fits.count();
    conflict.paths.truncate(keep);
    if let Text::Inline(text) = &conflict.text
        && text.len() > Text::INLINE_MAX
    {
        conflict.text = inline(text);
    }
    conflict
}

/// The task that resolves a conflict of `blocked`.
pub(super) fn resolution_task(
    blocked: &Task,
    resolver: Option<&RoleName>,
    conflict: &Conflict,
    taken: &HashMap<TaskId, TaskIx>,
) -> TaskSpec {
    let spec = &blocked.spec;
    TaskSpec {
        id: resolution_id(spec.id.as_str(), taken),
        title: head(&format!("Resolve conflict of {}: {}", spec.id, spec.title), 1024).into(),
        prompt: conflict.text.clone(),
        dependencies: Box::default(),
        priority: spec.priority.min(Priority::High),
        executor: resolver.cloned().map_or(Executor::Human, Executor::Agent),
        command: None,
        timeout_ms: spec.timeout_ms,
        grace_ms: spec.grace_ms,
        idle_timeout_ms: spec.idle_timeout_ms,
        attempts: spec.attempts,
        retry_from: RetryFrom::Last,
        allow_empty: false,
        // Its result contains everything that the blocked result contains.
        mass_delete: spec.mass_delete,
        may_change: spec.may_change.clone(),
    }
}

/// The task that resolves a conflict with the source. It belongs to no task, so it may take as long as the project's
/// longest task. In a project without tasks it gets the defaults of a plan file.
pub(super) fn sync_task(
    project: &ProjectSpec,
    like: Option<&TaskSpec>,
    conflict: &Conflict,
    taken: &HashMap<TaskId, TaskIx>,
) -> TaskSpec {
    let (timeout_ms, grace_ms, idle_timeout_ms, attempts) =
        like.map_or((1_800_000, 10_000, 900_000, 3), |t| (t.timeout_ms, t.grace_ms, t.idle_timeout_ms, t.attempts));
    let title = format!("Bring the source's {} together with devstack's", project.integration);
    TaskSpec {
        id: resolution_id("sync", taken),
        title: head(&title, 1024).into(),
        prompt: conflict.text.clone(),
        dependencies: Box::default(),
        priority: Priority::High,
        executor: project.resolver.clone().map_or(Executor::Human, Executor::Agent),
        command: None,
        timeout_ms,
        grace_ms,
        idle_timeout_ms,
        attempts,
        retry_from: RetryFrom::Last,
        allow_empty: false,
        mass_delete: false,
        may_change: Box::default(),
    }
}

/// The first free name `<stem>-resolve-<n>`. A long stem is cut so that the whole is a valid name.
fn resolution_id(stem: &str, taken: &HashMap<TaskId, TaskIx>) -> TaskId {
    (1u64..)
        .map(|n| {
            let suffix = format!("-resolve-{n}");
            // Names are ASCII, so any byte is a boundary.
            let stem = head(stem, MAX_NAME - suffix.len());
            TaskId::new(&format!("{stem}{suffix}")).expect("cut to the limit, of valid characters")
        })
        .find(|id| !taken.contains_key(id.as_str()))
        .expect("the range does not end")
}

/// The most bytes of a length or a number in any encoding that we use.
const NUMBER: usize = 9;

fn text_bytes(text: &Text) -> usize {
    match text {
        Text::Inline(text) => text.len() + NUMBER + 1,
        Text::Blob(..) => 32 + NUMBER + 1,
    }
}

/// An upper estimate of a task's encoded description.
pub(super) fn task_bytes(spec: &TaskSpec) -> usize {
    let executor = match &spec.executor {
        Executor::Agent(role) => role.as_str().len() + NUMBER,
        Executor::Human => 0,
    };
    let list = |items: usize, bytes: usize| items * NUMBER + bytes + NUMBER;
    let command = spec.command.as_deref().unwrap_or_default();
    list(1, spec.id.as_str().len() + spec.title.len())
        + text_bytes(&spec.prompt)
        + list(spec.dependencies.len(), spec.dependencies.iter().map(|d| d.as_str().len()).sum())
        + list(command.len(), command.iter().map(|c| c.len()).sum())
        + list(spec.may_change.len(), spec.may_change.iter().map(|glob| glob.len()).sum())
        + executor
        + 10 * NUMBER
}

/// An upper estimate of a project's encoded description.
pub(super) fn project_bytes(spec: &ProjectSpec) -> usize {
    let strings = |list: &[String]| list.iter().map(|s| s.len() + NUMBER).sum::<usize>() + NUMBER;
    let role = |role: &crate::plan::RoleSpec| {
        role.name.as_str().len()
            + strings(&role.command)
            + role.image.as_ref().map_or(0, |image| image.len())
            + strings(&role.secrets)
            + role.labels.iter().map(|(key, value)| key.len() + value.len() + 2 * NUMBER).sum::<usize>()
            // Its settings, and its later spending.
            + role.profile.as_ref().map_or(0, |it| it.name.len() + it.model.as_ref().map_or(0, |model| model.len()))
            + role.name.as_str().len()
            + 22 * NUMBER
    };
    let option = |text: &Option<String>| text.as_ref().map_or(0, String::len) + NUMBER;
    spec.name.as_str().len()
        + option(&spec.source)
        + option(&spec.base)
        + spec.integration.len()
        + strings(&spec.checks)
        + strings(&spec.protected)
        + spec.prompt_template.as_ref().map_or(0, text_bytes)
        + spec.resolver.as_ref().map_or(0, |r| r.as_str().len())
        + spec.roles.iter().map(role).sum::<usize>()
        + spec.profiles.iter().map(|profile| profile.bytes()).sum::<usize>()
        + 10 * NUMBER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_760_000_400, "2025-10-09T09:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(Timestamp(seconds * 1000)), text);
        }
    }
}
