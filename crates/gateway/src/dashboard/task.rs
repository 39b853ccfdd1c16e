//! The pages of a task: its status and the reason, its attempts with their output, its changes, and the possible
//! actions.
//! Deliberately absent: complete long logs or patches. Pages show the end of a log and the beginning of a patch.

use crate::pages;
use askama::Template;
use axum::{extract::State, response::Response};
use devstack_dag::ids::TaskRef;
use futures::StreamExt;
use serde::Deserialize;

use super::{
    Asked, View,
    actions::{self, Action},
    filters,
    format::{Took, When, dollars, grouped},
    now,
    output::{self, Tail},
    patch,
};
use crate::{
    extract::{OfTask, Params},
    routes::Api,
};
use devstack_api::{ApiError, ByteStream, dto};

/// The maximum size of a patch on a page, in bytes.
const PATCH: usize = 256 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    attempt: Option<u32>,
    /// The result of the last action; the shell shows it.
    #[serde(rename = "said")]
    _said: Option<String>,
}

/// The pages of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Task,
    Changes,
    Conflict,
}

/// The common data of the pages of a task.
struct Head {
    task: dto::TaskDetail,
    tab: Tab,
    now: dto::Time,
    may_act: bool,
}

impl Head {
    async fn of(api: &Api, asked: &Asked, task: &TaskRef, tab: Tab) -> Result<Self, ApiError> {
        let task = api.backend.task(task.clone()).await?;
        Ok(Self { task, tab, now: now(), may_act: asked.may_act() })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.task.task.project, self.task.task.id)
    }

    fn title(&self) -> String {
        format!("{} {}", self.task.task.id, self.task.task.title)
    }

    fn when(&self, at: &dto::Time) -> When {
        When { at: *at, now: self.now }
    }

    fn actions(&self) -> Vec<&'static Action> {
        if self.may_act { actions::offered(&self.task) } else { Vec::new() }
    }

    /// Whether the task has two sides of a conflict.
    fn has_conflict(&self) -> bool {
        self.task.task.kind == "resolve" || self.task.task.blocked_reason.as_deref() == Some("conflict")
    }

    /// Whether a person can complete the task by hand in a clone.
    fn by_hand(&self) -> bool {
        let open = matches!(self.task.task.status.as_str(), "TODO" | "BLOCKED");
        open && (self.has_conflict() || self.task.task.executor == "human")
    }

    fn is(&self, tab: &str) -> bool {
        matches!((self.tab, tab), (Tab::Task, "task") | (Tab::Changes, "changes") | (Tab::Conflict, "conflict"))
    }
}

#[derive(Template)]
#[template(path = "task.html")]
struct Page<'a> {
    head: &'a Head,
    explained: String,
    /// The attempts, newest first.
    attempts: Vec<&'a dto::Attempt>,
    /// The attempt whose output is shown.
    shown: Option<&'a dto::Attempt>,
    /// `None`: the output is not requested, or cannot be read.
    tail: Option<Tail>,
    /// Why the output cannot be read.
    unreadable: Option<String>,
}

impl Page<'_> {
    fn took(&self, attempt: &dto::Attempt) -> Took {
        Took { from: attempt.started_at, until: attempt.ended_at, now: self.head.now }
    }

    fn is_shown(&self, attempt: &dto::Attempt) -> bool {
        self.shown.is_some_and(|shown| shown.number == attempt.number)
    }

    fn runs(&self, attempt: &dto::Attempt) -> bool {
        attempt.outcome.is_none()
    }

    fn read(&self) -> u64 {
        self.tail.as_ref().map_or(0, |tail| tail.read)
    }

    /// The usage of an attempt, as far as it is known.
    fn used(&self, attempt: &dto::Attempt) -> String {
        let Some(usage) = &attempt.usage else { return String::new() };
        let tokens = usage.output_tokens.map(|tokens| format!("{} output tokens", grouped(tokens)));
        let parts = [usage.cost_usd.map(|usd| dollars(Some(usd))), tokens];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// `GET /tasks/{project}/{id}`.
pub(crate) async fn task(
    State(api): State<Api>,
    asked: Asked,
    OfTask(task): OfTask,
    Params(chosen): Params<Chosen>,
) -> Result<Response, ApiError> {
    let make = async {
        let head = Head::of(&api, &asked, &task, Tab::Task).await?;
        let explained = api.backend.explain(task.clone()).await?;
        let attempts: Vec<_> = head.task.attempt_list.iter().rev().collect();
        let shown = match chosen.attempt {
            Some(number) => attempts.iter().find(|attempt| attempt.number == number).copied(),
            None => attempts.first().copied(),
        };
        let (mut tail, mut unreadable) = (None, None);
        // A live page has the output already, and follows it itself.
        if let Some(shown) = shown.filter(|_| !asked.is_fragment()) {
            match api.backend.logs(task, Some(shown.number), false).await {
                Ok(log) => tail = Some(output::tail(log).await),
                Err(error) => unreadable = Some(error.problem.to_string()),
            }
        }
        View::of(head.title(), &Page { head: &head, explained, attempts, shown, tail, unreadable })
    };
    api.dashboard.page(&asked, make).await
}

/// Reads a patch up to the size that is shown.
struct Patch {
    text: String,
    cut: bool,
}

impl Patch {
    async fn read(mut stream: ByteStream) -> Self {
        let (mut bytes, mut cut) = (Vec::new(), false);
        while let Some(Ok(chunk)) = stream.next().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > PATCH {
                // Up to a complete line.
                bytes.truncate(PATCH);
                bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
                cut = true;
                break;
            }
        }
        Self { text: String::from_utf8_lossy(&bytes).into_owned(), cut }
    }

    fn files(&self) -> Vec<patch::File<'_>> {
        patch::files(&self.text)
    }
}

#[derive(Template)]
#[template(path = "changes.html")]
struct Changes<'a> {
    head: &'a Head,
    files: Vec<patch::File<'a>>,
    cut: bool,
    missing: Option<ApiError>,
}

impl Changes<'_> {
    fn sums(&self) -> (usize, usize) {
        self.files.iter().fold((0, 0), |(added, removed), file| (added + file.added, removed + file.removed))
    }
}

/// `GET /tasks/{project}/{id}/diff`.
pub(crate) async fn changes(State(api): State<Api>, asked: Asked, OfTask(task): OfTask) -> Result<Response, ApiError> {
    let make = async {
        let head = Head::of(&api, &asked, &task, Tab::Changes).await?;
        let (patch, missing) = match api.backend.diff(task).await {
            Ok(stream) => (Patch::read(stream).await, None),
            Err(error) if error.status == 404 => (Patch { text: String::new(), cut: false }, Some(error)),
            Err(error) => return Err(error),
        };
        let changes = Changes { head: &head, files: patch.files(), cut: patch.cut, missing };
        View::of(format!("Changes of {}", head.title()), &changes)
    };
    api.dashboard.page(&asked, make).await
}

#[derive(Template)]
#[template(path = "conflict.html")]
struct ConflictPage<'a> {
    head: &'a Head,
    conflict: dto::Conflict,
    sides: Option<pages::Sides>,
}

impl ConflictPage<'_> {
    fn files<'a>(&self, side: &'a pages::Side) -> Vec<patch::File<'a>> {
        patch::files(&side.patch)
    }
}

/// `GET /tasks/{project}/{id}/conflict`.
pub(crate) async fn conflict(State(api): State<Api>, asked: Asked, OfTask(task): OfTask) -> Result<Response, ApiError> {
    let make = async {
        let head = Head::of(&api, &asked, &task, Tab::Conflict).await?;
        let conflict = api.backend.conflict(task.clone()).await?;
        let sides = if conflict.theirs.is_some() { Some(api.backend.sides(task, PATCH / 2).await?) } else { None };
        View::of(format!("Resolve {}", head.title()), &ConflictPage { head: &head, conflict, sides })
    };
    api.dashboard.page(&asked, make).await
}
