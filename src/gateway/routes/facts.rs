//! Facts as server-sent events: the number is the event's id, so that `Last-Event-ID` resumes.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use serde::Deserialize;

use super::Api;
use crate::gateway::{ApiError, dto, extract::Params};

/// A comment this often tells proxies and readers that the connection lives: browsers give up after a minute or more.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FactsQuery {
    after: Option<u64>,
}

pub(super) async fn follow(
    State(api): State<Api>,
    Params(query): Params<FactsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let after = match headers.get("last-event-id") {
        None => query.after,
        Some(id) => {
            let number = id.to_str().ok().and_then(|id| id.parse().ok());
            Some(number.ok_or_else(|| ApiError::invalid("Last-Event-ID is not the number of a fact"))?)
        }
    };
    let facts = api.backend.facts(after).await?;
    Ok(Sse::new(facts.map(|fact| Ok(event(fact)))).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// A fact, or the error that ends the stream: a reader that fell behind the horizon must read everything again.
fn event(fact: Result<dto::Fact, ApiError>) -> Event {
    let (event, data) = match &fact {
        Ok(fact) => (Event::default().id(fact.seq.to_string()), serde_json::to_string(fact)),
        Err(error) => (Event::default().event("error"), serde_json::to_string(&error.body())),
    };
    // Texts, numbers and times only: it cannot fail.
    event.data(data.unwrap_or_default())
}
