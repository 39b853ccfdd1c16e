//! Facts as server-sent events, whose id is the fact's number, so that `Last-Event-ID` resumes; or as a page of the
//! history, for a client that accepts only JSON.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{
        HeaderMap,
        header::{ACCEPT, VARY},
        request::Parts,
    },
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, future::ready};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Api, paging};
use crate::{
    FactStream,
    extract::Params,
    openapi::{Draft, Gives, Takes},
};
use devstack_api::{ApiError, dto};

/// The interval of comments that keep the connection alive: browsers give up after a minute or more.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The default number of facts of a page.
const PAGE: usize = 1000;
/// The maximum number of facts that a page with filters searches.
const LOOK: usize = 10_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FactsQuery {
    /// Only facts after this number. Default: a stream begins with the next fact, a page with the oldest kept fact.
    after: Option<u64>,
    /// Entries of a page: 1 to 10,000; default 1,000. A stream has no limit.
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<usize>,
    /// Only facts of this project.
    project: Option<String>,
    /// Only facts of this task: its id in the project.
    task: Option<String>,
    /// Only facts of these kinds, separated by commas: `task-moved,task-completed`.
    kind: Option<String>,
}

/// The filters of a fact.
pub(super) struct Filter {
    project: Option<String>,
    task: Option<String>,
    kinds: Option<Vec<String>>,
}

impl Filter {
    fn of(query: &FactsQuery) -> Self {
        let kinds = query.kind.as_deref().map(|list| list.split(',').map(str::to_owned).collect());
        Self { project: query.project.clone(), task: query.task.clone(), kinds }
    }

    fn admits(&self, fact: &dto::Fact) -> bool {
        (self.project.is_none() || self.project == fact.project)
            && (self.task.is_none() || self.task == fact.task)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&fact.kind))
    }
}

/// The requested form of facts, and the last fact that the client received before its stream broke.
pub(super) struct Reader {
    paged: bool,
    last_id: Option<u64>,
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let last_id = match parts.headers.get("last-event-id") {
            None => None,
            Some(id) => {
                let number = id.to_str().ok().and_then(|id| id.parse().ok());
                Some(number.ok_or_else(|| ApiError::invalid("Last-Event-ID is not the number of a fact"))?)
            }
        };
        Ok(Self { paged: wants_page(&parts.headers), last_id })
    }
}

/// A client that accepts JSON and no stream gets a page; a client that accepts anything gets the stream.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(','));
    let kinds: Vec<&str> = accepted.filter_map(|kind| kind.split(';').next()).map(str::trim).collect();
    kinds.contains(&"application/json") && !kinds.contains(&"text/event-stream")
}

impl Takes for Reader {
    fn takes(draft: &mut Draft) {
        let description =
            "The number of the last fact that the client received; the stream continues after it. Overrides `after`.";
        draft.header("Last-Event-ID", description, json!({ "type": "string", "pattern": "^[0-9]{1,19}$" }));
    }
}

/// Facts in the requested form.
pub(super) enum Facts {
    Page(dto::FactList),
    Stream(FactStream, Filter),
}

impl Gives for Facts {
    fn gives(draft: &mut Draft) {
        let page = draft.answer::<dto::FactList>();
        draft.gives("application/json", page);
        let stream = "Server-sent events without end: `id` is the number, `data` the fact as in a page. An event `error` \
                      ends it; its data is the error object.";
        draft.gives("text/event-stream", json!({ "type": "string", "description": stream }));
        draft.statuses.push(410);
    }
}

impl IntoResponse for Facts {
    fn into_response(self) -> Response {
        let answer = match self {
            Self::Page(page) => Json(page).into_response(),
            Self::Stream(facts, filter) => {
                let wanted = facts
                    .filter(move |fact| ready(fact.as_ref().is_ok_and(|fact| filter.admits(fact)) || fact.is_err()));
                let events = wanted.map(|fact| Ok::<_, Infallible>(event(fact)));
                Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
            }
        };
        ([(VARY, "accept")], answer).into_response()
    }
}

pub(super) async fn follow(
    State(api): State<Api>,
    Params(query): Params<FactsQuery>,
    reader: Reader,
) -> Result<Facts, ApiError> {
    let filter = Filter::of(&query);
    let after = reader.last_id.or(query.after);
    if reader.paged {
        let limit = query.limit.map_or(Ok(PAGE), |limit| paging::limit(Some(limit)))?;
        return page(&api, after, limit, &filter).await.map(Facts::Page);
    }
    Ok(Facts::Stream(api.backend.facts(after).await?, filter))
}

async fn page(api: &Api, mut after: Option<u64>, limit: usize, filter: &Filter) -> Result<dto::FactList, ApiError> {
    let mut list =
        dto::FactList { api_version: dto::V1, facts: Vec::new(), next: None, through: after.unwrap_or(0), last: 0 };
    for _ in 0..LOOK.div_ceil(PAGE) {
        // Never more than the room left: every searched fact is in the page or filtered out.
        let read = api.backend.fact_page(after, PAGE.min(limit - list.facts.len())).await?;
        (list.through, list.last) = (read.through, read.last);
        list.facts.extend(read.facts.into_iter().filter(|fact| filter.admits(fact)));
        after = Some(list.through);
        if list.through >= list.last || list.facts.len() >= limit {
            break;
        }
    }
    list.next = (list.through < list.last).then(|| list.through.to_string());
    Ok(list)
}

/// A fact, or the error that ends the stream: a reader behind the horizon must read everything again.
fn event(fact: Result<dto::Fact, ApiError>) -> Event {
    let (event, data) = match &fact {
        Ok(fact) => (Event::default().id(fact.seq.to_string()), serde_json::to_string(fact)),
        Err(error) => (Event::default().event("error"), serde_json::to_string(&error.body())),
    };
    // Texts, numbers and times only: serialisation cannot fail.
    event.data(data.unwrap_or_default())
}
