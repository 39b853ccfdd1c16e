//! Follows facts over connections that may break: reconnects after the last fact seen, with growing pauses.
//! Deliberately absent: the use of the facts.

use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::Instant;

use super::{CliError, Exit, client::Client, progress::facts};
use devstack_api::dto;

/// The waiting times of a follower.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Between two tries: the shortest and the longest pause.
    pause: (Duration, Duration),
    /// How long to retry before giving up.
    patience: Duration,
}

/// A node is back within two minutes, even if its machine restarts.
const PACE: Pace =
    Pace { pause: (Duration::from_millis(200), Duration::from_secs(5)), patience: Duration::from_secs(120) };

type Facts = std::pin::Pin<Box<dyn Stream<Item = Result<dto::Fact, CliError>> + Send>>;

/// The position of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Only facts from now on.
    Now,
    /// Facts after this number.
    After(u64),
}

impl From {
    /// The query of `/v1/facts`.
    fn query(self) -> String {
        match self {
            Self::Now => String::new(),
            Self::After(number) => format!("?after={number}"),
        }
    }
}

/// An event of a follower.
#[derive(Debug)]
pub(super) enum Heard {
    /// The first connection is open: facts from here on are received.
    Met,
    /// A fact.
    Fact(dto::Fact),
    /// The connection broke; the follower reconnects.
    Broken(CliError),
    /// The connection is open again.
    Back,
    /// Facts are missing: the reader was away for too long, or the node has another history. The follower continues
    /// with new facts.
    Gap,
}

/// A follower.
pub(super) struct Follow {
    client: Client,
    from: From,
    facts: Option<Facts>,
    pace: Pace,
    pause: Duration,
    since: Option<Instant>,
    met: bool,
}

impl Follow {
    /// A follower that starts at `from`. It sends no request yet.
    pub(super) fn new(client: Client, from: From) -> Self {
        Self::paced(client, from, PACE)
    }

    fn paced(client: Client, from: From, pace: Pace) -> Self {
        Self { client, from, facts: None, pace, pause: pace.pause.0, since: None, met: false }
    }

    /// The next event. The future may be dropped while it waits.
    ///
    /// # Errors
    /// The first connection failed, no connection was possible for too long, or the request was refused.
    pub(super) async fn next(&mut self) -> Result<Heard, CliError> {
        loop {
            let Some(open) = &mut self.facts else {
                if self.since.is_some() {
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(self.pace.pause.1);
                }
                match facts(&self.client, &self.from.query()).await {
                    Ok(stream) => {
                        self.facts = Some(Box::pin(stream));
                        if !std::mem::replace(&mut self.met, true) {
                            return Ok(Heard::Met);
                        }
                        if self.since.take().is_some() {
                            self.pause = self.pace.pause.0;
                            return Ok(Heard::Back);
                        }
                        continue;
                    }
                    Err(error) => match self.broken(error)? {
                        Some(heard) => return Ok(heard),
                        None => continue,
                    },
                }
            };
            match open.next().await {
                Some(Ok(fact)) => {
                    self.from = From::After(fact.seq);
                    return Ok(Heard::Fact(fact));
                }
                Some(Err(error)) => {
                    self.facts = None;
                    if let Some(heard) = self.broken(error)? {
                        return Ok(heard);
                    }
                }
                None => {
                    self.facts = None;
                    if let Some(heard) = self.broken(CliError::unreachable("the node ended the stream of facts"))? {
                        return Ok(heard);
                    }
                }
            }
        }
    }

    /// The event for a failure; `None`: it was already reported.
    fn broken(&mut self, error: CliError) -> Result<Option<Heard>, CliError> {
        match error.exit {
            Exit::Refused if self.met => {
                self.from = From::Now;
                Ok(Some(Heard::Gap))
            }
            Exit::Unreachable | Exit::TimedOut if self.met => match self.since {
                None => {
                    self.since = Some(Instant::now());
                    Ok(Some(Heard::Broken(error)))
                }
                Some(since) if since.elapsed() < self.pace.patience => Ok(None),
                Some(_) => Err(error),
            },
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::{
        Router,
        extract::{Query, State},
        http::StatusCode,
        response::{IntoResponse, Sse, sse::Event},
        routing::get,
    };

    use super::*;
    use devstack_api::ApiError;

    const HASTY: Pace =
        Pace { pause: (Duration::from_millis(1), Duration::from_millis(1)), patience: Duration::from_secs(60) };

    /// A node that sends two facts and disconnects. The third request finds no node, the fifth finds another history.
    async fn node(
        State(asked): State<Arc<AtomicUsize>>,
        Query(query): Query<std::collections::HashMap<String, String>>,
    ) -> axum::response::Response {
        let turn = asked.fetch_add(1, Ordering::SeqCst);
        let after = query.get("after").map_or(0, |after| after.parse::<u64>().unwrap());
        if turn == 2 {
            return (StatusCode::SERVICE_UNAVAILABLE, "").into_response();
        }
        if turn == 4 {
            return ApiError::behind_horizon(after).into_response();
        }
        let fact = |seq: u64| {
            let text = serde_json::json!({
                "seq": seq, "at": "2026-01-01T00:00:00Z", "kind": "task-moved", "project": null, "task": null,
                "attempt": null, "status": null, "message": "",
            });
            Ok::<_, Infallible>(Event::default().id(seq.to_string()).data(text.to_string()))
        };
        Sse::new(futures::stream::iter([fact(after + 1), fact(after + 2)])).into_response()
    }

    #[tokio::test]
    async fn what_breaks_is_asked_again_without_a_gap_and_a_gap_is_said() {
        let router = Router::new().route("/v1/facts", get(node)).with_state(Arc::default());
        let mut follow = Follow::paced(Client::Router(router), From::After(10), HASTY);
        let mut heard = Vec::new();
        while heard.len() < 17 {
            heard.push(match follow.next().await.unwrap() {
                Heard::Met => "met".to_owned(),
                Heard::Fact(fact) => fact.seq.to_string(),
                Heard::Broken(_) => "broken".to_owned(),
                Heard::Back => "back".to_owned(),
                Heard::Gap => "gap".to_owned(),
            });
        }
        let wanted = "met 11 12 broken back 13 14 broken back 15 16 broken gap back 1 2 broken";
        assert_eq!(heard.join(" "), wanted);
    }

    #[tokio::test]
    async fn who_never_answered_is_not_waited_for_and_who_stays_away_is_given_up() {
        let gone = Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE });
        let hasty = Pace { patience: Duration::ZERO, ..HASTY };
        let mut follow = Follow::paced(Client::Router(gone), From::Now, hasty);
        assert_eq!(follow.next().await.unwrap_err().exit, Exit::Unreachable);
        follow.met = true;
        assert!(matches!(follow.next().await, Ok(Heard::Broken(_))));
        assert_eq!(follow.next().await.unwrap_err().exit, Exit::Unreachable);
    }
}
