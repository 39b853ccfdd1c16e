//! What people can do: a question on a page of its own (or in a dialog over the page), and its answer, which acts once
//! however often it is sent and leads back to where it was asked.
//! Deliberately absent: judging what may be done. The engine does, before and after it is asked.

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
    config::units::parse_duration,
    gateway::{
        ApiError, RequestId, bounds, dto,
        error::code,
        extract::{OfAction, OfHost, OfProject, OfTask, scoped_to},
        routes::Api,
    },
};

/// What something is done to.
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

    /// Where the question was asked.
    fn back(&self) -> String {
        match self {
            Self::Task(task) => format!("/tasks/{task}"),
            Self::Project(project) => format!("/board?project={project}"),
            Self::Host(_) => "/hosts".to_owned(),
        }
    }
}

/// Something that can be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// In addresses.
    pub(super) word: &'static str,
    /// On buttons.
    pub(super) verb: &'static str,
    /// What it means, said before it is done.
    says: &'static str,
    /// What may be said with it.
    field: Option<Field>,
    /// Is something lost by it?
    pub(super) danger: bool,
}

/// A text that goes with an action.
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
        says: "It goes on to the merge queue, or is done if there is nothing to merge.",
        field: None,
        danger: false,
    },
    Action {
        word: "request-changes",
        verb: "Request changes",
        says: "It goes back to work; the next attempt reads what you write.",
        field: Some(Field { label: "What is to be changed", hint: "", required: true, long: true }),
        danger: false,
    },
    Action {
        word: "retry",
        verb: "Retry",
        says: "It gets a new budget of attempts, or waits no longer for its next one.",
        field: Some(Field {
            label: "A hint for the next attempt",
            hint: "It is added to the prompt. May be empty.",
            required: false,
            long: true,
        }),
        danger: false,
    },
    Action {
        word: "stop",
        verb: "Stop",
        says: "The running attempt ends now. It is not charged; what it has done so far is kept.",
        field: None,
        danger: true,
    },
    Action {
        word: "reject",
        verb: "Reject",
        says: "The task is given up for good, and the tasks that depend on it are blocked. This cannot be undone.",
        field: Some(Field { label: "Why", hint: "Kept with the task. May be empty.", required: false, long: false }),
        danger: true,
    },
];

const PROJECT: &[Action] = &[
    Action {
        word: "pause",
        verb: "Pause",
        says: "No more attempts are started. Those that run go on, and what is approved is merged.",
        field: None,
        danger: false,
    },
    Action {
        word: "resume",
        verb: "Resume",
        says: "Attempts are started again, and the source is brought up to date again.",
        field: None,
        danger: false,
    },
];

const HOST: &[Action] = &[
    Action {
        word: "drain",
        verb: "Drain",
        says: "The host gets no more attempts. Those that run there finish, or are stopped when their time is up, uncharged.",
        field: Some(Field {
            label: "Stop what still runs after",
            hint: "For example 30m. Empty: it may take as long as it takes.",
            required: false,
            long: false,
        }),
        danger: false,
    },
    Action { word: "undrain", verb: "Undrain", says: "The host gets attempts again.", field: None, danger: false },
];

/// What the state of a task suggests; whether it can be done the engine says when it is asked.
pub(super) fn offered(task: &dto::TaskDetail) -> Vec<&'static Action> {
    let (status, human) = (task.task.status.as_str(), task.task.executor == "human");
    let runs = task.attempt_list.last().is_some_and(|attempt| attempt.outcome.is_none());
    let suggested = |action: &&Action| match action.word {
        // A conflict is resolved by a commit, and not by a word.
        "approve" => status == "REVIEW" || (human && status == "TODO" && task.task.kind != "resolve"),
        "request-changes" => status == "REVIEW",
        "retry" => status == "BLOCKED" || (status == "TODO" && task.task.attempts > 0 && !human),
        "stop" => runs,
        _ => !matches!(status, "COMPLETED" | "REJECTED"),
    };
    TASK.iter().filter(suggested).collect()
}

/// An action on tasks by its word.
pub(super) fn of_task(word: &str) -> Option<&'static Action> {
    TASK.iter().find(|action| action.word == word)
}

/// An action by its word.
fn action(of: &'static [Action], word: &str) -> Result<&'static Action, ApiError> {
    let missing = || ApiError::not_found(code::NO_ROUTE, "nothing of that name can be done here");
    of.iter().find(|action| action.word == word).ok_or_else(missing)
}

/// The engine's word for it; `text` is what was written, without space around it.
fn command(target: &Target, action: &Action, text: &str) -> Result<Command, ApiError> {
    let message = || Text::Inline(text.into());
    if text.is_empty() && action.field.as_ref().is_some_and(|field| field.required) {
        return Err(ApiError::invalid("there is nothing written: say what to change"));
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
    /// Why it would be refused now.
    refused: Option<ApiError>,
}

/// The question.
async fn question(api: &Api, asked: &Asked, target: Target, action: &'static Action) -> Result<Response, ApiError> {
    let make = async {
        // What is still to be written is not what it could be refused for.
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
    // Its token and key are for one person and one time: it is never shared.
    api.dashboard.page_for_one(asked, make).await
}

/// A form that was sent.
#[derive(Debug, Deserialize)]
pub(in crate::gateway) struct Sent {
    token: String,
    key: String,
    #[serde(default)]
    text: String,
}

/// The answer.
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
            crate::config::problem::Problem::new(code::TOO_LARGE, "the text is too long").hint("say it in 64 KiB"),
        ),
        _ => ApiError::invalid("the form cannot be read").hint("load the page again"),
    })?;
    api.dashboard.forms.check(headers, &asked.visitor, &asked.path, &sent.token)?;
    if sent.key.len() != Forms::KEY_LENGTH || !sent.key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid("the form has no key").hint("load the page again"));
    }
    // Browsers end lines as mail does.
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
        /// The question.
        pub(in crate::gateway) async fn $ask(
            State(api): State<Api>,
            asked: Asked,
            $of(name): $of,
            OfAction(word): OfAction,
        ) -> Result<Response, ApiError> {
            question(&api, &asked, Target::$target(name), action($actions, &word)?).await
        }

        /// The answer.
        pub(in crate::gateway) async fn $act(
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
