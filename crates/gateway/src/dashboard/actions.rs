//! The actions of users. Each action has a question on its own page (or in a dialog over the page) and an answer. The
//! answer acts once, however often it is sent, and leads back to the page of the question.
//! Deliberately absent: deciding whether an action is allowed. The engine decides before and after the question.

use askama::Template;
use axum::{
    extract::{Form, State, rejection::FormRejection},
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use devstack_dag::{
    bounds::Limit,
    command::Command,
    ids::{HostName, ProjectName, TaskRef, Text},
};
use serde::Deserialize;

use super::{Asked, View, forms::Forms};
use crate::{
    RequestId,
    extract::{OfAction, OfHost, OfProject, OfTask, scoped_to},
    routes::Api,
};
use devstack_api::{ApiError, bounds, dto, error::code};
use devstack_config::units::parse_duration;

/// The target of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Task(TaskRef),
    Project(ProjectName),
    Host(HostName),
}

impl Target {
    fn name(&self) -> String {
        match self {
            Self::Task(task) => task.to_string(),
            Self::Project(project) => project.to_string(),
            Self::Host(host) => host.to_string(),
        }
    }

    /// The page of the question.
    fn back(&self) -> String {
        match self {
            Self::Task(task) => format!("/tasks/{task}"),
            Self::Project(project) => format!("/board?project={project}"),
            Self::Host(_) => "/hosts".to_owned(),
        }
    }
}

/// An action.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// The word in addresses.
    pub(super) word: &'static str,
    /// The label of the button.
    pub(super) verb: &'static str,
    /// The consequence, shown before the action.
    says: &'static str,
    /// The optional input.
    field: Option<Field>,
    /// Whether the action loses something.
    pub(super) danger: bool,
}

/// The text input of an action.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    label: &'static str,
    hint: &'static str,
    required: bool,
    long: bool,
}

const TASK: &[Action] = &[
    Action {
        word: "approve",
        verb: "Approve",
        says: "Moves the task to the merge queue, or completes it if there is nothing to merge.",
        field: None,
        danger: false,
    },
    Action {
        word: "request-changes",
        verb: "Request changes",
        says: "Sends the task back to work. The next attempt reads your text.",
        field: Some(Field { label: "Requested changes", hint: "", required: true, long: true }),
        danger: false,
    },
    Action {
        word: "retry",
        verb: "Retry",
        says: "Resets the attempt counter and starts now.",
        field: Some(Field {
            label: "Hint for the next attempt",
            hint: "Optional. Added to the prompt.",
            required: false,
            long: true,
        }),
        danger: false,
    },
    Action {
        word: "stop",
        verb: "Stop",
        says: "Ends the running attempt now. It is not charged, and its work so far is kept.",
        field: None,
        danger: true,
    },
    Action {
        word: "reject",
        verb: "Reject",
        says: "Rejects the task permanently and blocks the tasks that depend on it. This cannot be undone.",
        field: Some(Field { label: "Reason", hint: "Optional. Kept with the task.", required: false, long: false }),
        danger: true,
    },
];

const PROJECT: &[Action] = &[
    Action {
        word: "pause",
        verb: "Pause",
        says: "Starts no new attempts. Running attempts continue, and approved tasks are merged.",
        field: None,
        danger: false,
    },
    Action {
        word: "resume",
        verb: "Resume",
        says: "Starts attempts again, and delivers to your repository again.",
        field: None,
        danger: false,
    },
];

const HOST: &[Action] = &[
    Action {
        word: "drain",
        verb: "Drain",
        says: "Gives the host no new attempts. Running attempts finish, or are stopped after this time and not charged.",
        field: Some(Field {
            label: "Stop running attempts after",
            hint: "For example 30m. Empty: no limit.",
            required: false,
            long: false,
        }),
        danger: false,
    },
    Action { word: "undrain", verb: "Undrain", says: "Gives the host attempts again.", field: None, danger: false },
];

/// Actions that fit the state of a task. The engine decides later whether an action is allowed.
pub(super) fn offered(task: &dto::TaskDetail) -> Vec<&'static Action> {
    let (status, human) = (task.task.status.as_str(), task.task.executor == "human");
    let runs = task.attempt_list.last().is_some_and(|attempt| attempt.outcome.is_none());
    let suggested = |action: &&Action| match action.word {
        // A conflict is resolved by a commit, not by an approval.
        "approve" => status == "REVIEW" || (human && status == "TODO" && task.task.kind != "resolve"),
        "request-changes" => status == "REVIEW",
        "retry" => status == "BLOCKED" || (status == "TODO" && task.task.attempts > 0 && !human),
        "stop" => runs,
        _ => !matches!(status, "COMPLETED" | "REJECTED"),
    };
    TASK.iter().filter(suggested).collect()
}

/// Finds an action on tasks by its word.
pub(super) fn of_task(word: &str) -> Option<&'static Action> {
    TASK.iter().find(|action| action.word == word)
}

/// Finds an action by its word.
fn action(of: &'static [Action], word: &str) -> Result<&'static Action, ApiError> {
    let missing = || ApiError::not_found(code::NO_ROUTE, "there is no action of this name here");
    of.iter().find(|action| action.word == word).ok_or_else(missing)
}

/// The engine's command of an action; `text` is the trimmed input.
fn command(target: &Target, action: &Action, text: &str) -> Result<Command, ApiError> {
    let message = || Text::Inline(text.into());
    if text.is_empty() && action.field.as_ref().is_some_and(|field| field.required) {
        return Err(ApiError::invalid("the text is empty: describe the changes"));
    }
    Ok(match (target.clone(), action.word) {
        (Target::Task(task), "approve") => Command::ApproveTask(task),
        (Target::Task(task), "request-changes") => Command::RequestChanges { task, message: message() },
        (Target::Task(task), "retry") => Command::RetryTask { task, message: (!text.is_empty()).then(message) },
        (Target::Task(task), "stop") => Command::StopTask(task),
        (Target::Task(task), "reject") => {
            bounds::Reason::check(text).map_err(|why| ApiError::invalid(why.to_string()))?;
            let reason = if text.is_empty() { "rejected by a person" } else { text };
            Command::RejectTask { task, reason: reason.to_owned() }
        }
        (Target::Project(project), "pause") => Command::PauseProject(project),
        (Target::Project(project), "resume") => Command::ResumeProject(project),
        (Target::Host(host), "drain") => {
            let deadline = (!text.is_empty()).then(|| parse_duration(text)).transpose();
            let deadline_ms = deadline.map_err(|why| ApiError::invalid(why).hint("write it as 30m or 2h"))?;
            Command::DrainHost { host, deadline_ms }
        }
        (Target::Host(host), "undrain") => Command::UndrainHost(host),
        (_, word) => return Err(ApiError::internal(format!("`{word}` has no command"))),
    })
}

#[derive(Template)]
#[template(path = "ask.html")]
struct Question<'a> {
    action: &'static Action,
    name: String,
    path: &'a str,
    back: String,
    token: String,
    key: String,
    /// Why the engine would refuse the action now.
    refused: Option<ApiError>,
}

/// Shows the question of an action.
async fn question(api: &Api, asked: &Asked, target: Target, action: &'static Action) -> Result<Response, ApiError> {
    let make = async {
        // The text is not written yet, so its absence must not cause a refusal.
        let needs_text = action.field.as_ref().is_some_and(|field| field.required);
        let command = command(&target, action, if needs_text { "…" } else { "" })?;
        let refused = match api.backend.judge(command).await {
            Err(error) if error.status == 409 => Some(error),
            judged => judged.map(|()| None)?,
        };
        let question = Question {
            action,
            name: target.name(),
            path: &asked.path,
            back: target.back(),
            token: api.dashboard.forms.token(&asked.visitor, &asked.path),
            key: Forms::fresh_key(),
            refused,
        };
        View::of(format!("{} {}?", action.verb, target.name()), &question)
    };
    // The token and the key are for one user and one use: the page is never shared.
    api.dashboard.page_for_one(asked, make).await
}

/// The fields of a submitted form.
#[derive(Debug, Deserialize)]
pub(crate) struct Sent {
    token: String,
    key: String,
    #[serde(default)]
    text: String,
}

/// Runs an action.
async fn act(
    api: &Api,
    asked: &Asked,
    headers: &HeaderMap,
    target: Target,
    action: &'static Action,
    sent: Result<Form<Sent>, FormRejection>,
) -> Result<Response, ApiError> {
    let Form(sent) = sent.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            413,
            devstack_config::problem::Problem::new(code::TOO_LARGE, "the text is too long")
                .hint("write at most 64 KiB"),
        ),
        _ => ApiError::invalid("the form cannot be read").hint("reload the page"),
    })?;
    api.dashboard.forms.check(headers, &asked.visitor, &asked.path, &sent.token)?;
    if sent.key.len() != Forms::KEY_LENGTH || !sent.key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid("the form has no key").hint("reload the page"));
    }
    // Browsers end lines with CR LF.
    let text = sent.text.replace("\r\n", "\n");
    let command = command(&target, action, text.trim())?;
    let mut hash = blake3::Hasher::new();
    hash.update(b"form\n").update(asked.path.as_bytes()).update(b"\n").update(text.as_bytes());
    let who = format!("dashboard {}", asked.visitor.name.as_deref().unwrap_or_default());
    let request = RequestId { key: scoped_to(&who, &sent.key), body_hash: *hash.finalize().as_bytes() };
    let answer = api.backend.ask(command, Some(request)).await?;
    let back = target.back();
    let (sign, said) = (if back.contains('?') { '&' } else { '?' }, if answer.changed { "done" } else { "unchanged" });
    Ok((StatusCode::SEE_OTHER, [(LOCATION, format!("{back}{sign}said={said}"))]).into_response())
}

macro_rules! handlers {
    ($($ask:ident, $act:ident: $of:ident => $target:ident, $actions:ident;)*) => {$(
        /// Shows the question.
        pub(in crate) async fn $ask(
            State(api): State<Api>,
            asked: Asked,
            $of(name): $of,
            OfAction(word): OfAction,
        ) -> Result<Response, ApiError> {
            question(&api, &asked, Target::$target(name), action($actions, &word)?).await
        }

        /// Runs the action.
        pub(in crate) async fn $act(
            State(api): State<Api>,
            asked: Asked,
            $of(name): $of,
            OfAction(word): OfAction,
            headers: HeaderMap,
            sent: Result<Form<Sent>, FormRejection>,
        ) -> Result<Response, ApiError> {
            act(&api, &asked, &headers, Target::$target(name), action($actions, &word)?, sent).await
        }
    )*};
}

handlers! {
    ask_task, act_task: OfTask => Task, TASK;
    ask_project, act_project: OfProject => Project, PROJECT;
    ask_host, act_host: OfHost => Host, HOST;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Vec<(Target, &'static [Action])> {
        vec![
            (
                Target::Task(
                    "shop/T-1"
                        .split_once('/')
                        .map(|(p, i)| TaskRef { project: p.parse().unwrap(), id: i.parse().unwrap() })
                        .unwrap(),
                ),
                TASK,
            ),
            (Target::Project("shop".parse().unwrap()), PROJECT),
            (Target::Host("one".parse().unwrap()), HOST),
        ]
    }

    #[test]
    fn every_action_has_its_command() {
        for (target, actions) in targets() {
            for action in actions {
                let text = if action.word == "drain" { "30m" } else { "text" };
                assert!(command(&target, action, text).is_ok(), "{}", action.word);
                let needs = action.field.as_ref().is_some_and(|field| field.required);
                assert_eq!(command(&target, action, "").is_err(), needs, "{}", action.word);
            }
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let (host, _) = targets().remove(2);
        assert!(command(&host, action(HOST, "drain").unwrap(), "soon").is_err());
        assert!(action(TASK, "drain").is_err());
        let (task, _) = targets().remove(0);
        assert!(command(&task, action(TASK, "reject").unwrap(), &"x".repeat(bounds::Reason::BYTES + 1)).is_err());
    }
}
