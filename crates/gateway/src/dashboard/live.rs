//! Keeps pages live. One reader of facts serves all dashboards of a node; it starts with the first viewer and ends with
//! the last. At most once a second it sends "something changed", and each page then fetches itself again.
//! Deliberately absent: what changed. A page is drawn completely, so it cannot miss anything.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{Backend, FactStream, routes::Api};
use devstack_api::ApiError;

/// The minimum time between two ticks.
const BEAT: Duration = Duration::from_secs(1);
/// The pause before facts are requested again after an error.
const PAUSE: Duration = Duration::from_secs(2);
/// The interval of comments that keep the connection alive for browsers and proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The ticks of a node.
pub(super) struct Live(Arc<Shared>);

struct Shared {
    backend: Arc<dyn Backend>,
    /// Ends the running reader; `None` without viewers.
    ticks: Mutex<Weak<watch::Sender<u64>>>,
}

impl Live {
    /// Starts without viewers.
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self(Arc::new(Shared { backend, ticks: Mutex::default() }))
    }

    /// The newest tick: the number of a fact, or 0 before the first; `None` without viewers.
    pub(super) fn tick(&self) -> Option<u64> {
        let ticks = self.0.ticks.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?;
        let tick = *ticks.borrow();
        Some(tick)
    }

    /// Subscribes to ticks from now on.
    fn watch(&self) -> watch::Receiver<u64> {
        let mut ticks = self.0.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = ticks.upgrade() {
            return running.subscribe();
        }
        let (sender, receiver) = watch::channel(0);
        let sender = Arc::new(sender);
        *ticks = Arc::downgrade(&sender);
        tokio::spawn(read(self.0.clone(), sender));
        receiver
    }
}

impl Shared {
    /// Without viewers the reader ends, and the next viewer starts another.
    fn is_over(&self, sender: &watch::Sender<u64>) -> bool {
        // Under the lock, so that nobody joins a reader that is ending.
        let mut ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        let over = sender.receiver_count() == 0;
        if over {
            *ticks = Weak::new();
        }
        over
    }
}

/// Reads facts and sends ticks until there are no viewers.
async fn read(shared: Arc<Shared>, sender: Arc<watch::Sender<u64>>) {
    loop {
        let reading = async {
            if let Ok(facts) = shared.backend.facts(None).await {
                // Facts during the interruption are unknown: send a tick.
                sender.send_modify(|_| ());
                beat(facts, &sender).await;
            }
            sleep(PAUSE).await;
        };
        tokio::select! {
            () = reading => {}
            () = sender.closed() => {}
        }
        if shared.is_over(&sender) {
            return;
        }
    }
}

/// Forwards the newest number of each second; returns when the stream ends.
async fn beat(mut facts: FactStream, sender: &watch::Sender<u64>) {
    let mut free = Instant::now();
    while let Some(Ok(fact)) = facts.next().await {
        let mut newest = fact.seq;
        // A single fact is shown at once; many facts become one tick per second.
        let turn = sleep_until(free);
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                () = &mut turn => break,
                more = facts.next() => match more {
                    Some(Ok(fact)) => newest = fact.seq,
                    _ => {
                        sender.send_replace(newest);
                        return;
                    }
                },
            }
        }
        // Facts that are already available belong to this tick.
        while let Some(more) = futures::FutureExt::now_or_never(facts.next()) {
            match more {
                Some(Ok(fact)) => newest = fact.seq,
                _ => {
                    sender.send_replace(newest);
                    return;
                }
            }
        }
        sender.send_replace(newest);
        free = Instant::now() + BEAT;
    }
}

/// `GET /live`: the number of the newest fact, after each change.
pub(crate) async fn follow(
    State(api): State<Api>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let ticks = api.dashboard.live.watch();
    let events = futures::stream::unfold((ticks, true), |(mut ticks, first)| async move {
        // The first event confirms the connection.
        if !first {
            ticks.changed().await.ok()?;
        }
        let tick = *ticks.borrow_and_update();
        Some((Ok(Event::default().event("tick").data(tick.to_string())), (ticks, false)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use devstack_api::dto::{Fact, Time};

    fn fact(seq: u64) -> Result<Fact, ApiError> {
        let (kind, message) = (String::new(), String::new());
        Ok(Fact { seq, at: Time(0), kind, project: None, task: None, attempt: None, status: None, message })
    }

    #[tokio::test]
    async fn a_crowd_of_facts_is_one_tick_a_second() {
        let (sender, mut receiver) = watch::channel(0);
        let facts = stream::iter(1..=1000).then(|seq| async move {
            tokio::task::yield_now().await;
            fact(seq)
        });
        let counting = tokio::spawn(async move {
            let mut seen = Vec::new();
            while receiver.changed().await.is_ok() {
                seen.push(*receiver.borrow_and_update());
            }
            seen
        });
        let start = Instant::now();
        beat(facts.boxed(), &sender).await;
        drop(sender);
        let seen = counting.await.unwrap();
        // The first number at once, then at most one per second, and the last when the stream ends.
        assert!(seen.len() as u64 <= start.elapsed().as_secs() + 2, "{seen:?}");
        assert_eq!(seen.last(), Some(&1000));
    }
}
