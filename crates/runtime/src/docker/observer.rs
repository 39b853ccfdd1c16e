//! Wakes the tasks that wait for a container when something may have happened to it. Level-triggered: events only wake
//! early, a list of all containers every [`TICK`] wakes a task that missed an event, and every task checks for itself.
//!
//! Architecture invariants: it runs only while somebody waits; while the engine is gone it waits for its return, and
//! then wakes everybody.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::models::ContainerSummaryStateEnum;
use futures::StreamExt;
use tokio::sync::Notify;

use super::{container, engine::Engine, health::Health};

/// The interval between two lists.
const TICK: Duration = Duration::from_secs(10);

/// The waiting tasks by container.
#[derive(Default)]
pub(super) struct Observer {
    waiting: Mutex<Waiting>,
    /// The last waiting task is gone.
    idle: Notify,
}

#[derive(Default)]
struct Waiting {
    names: HashMap<String, Arc<Notify>>,
    running: bool,
}

/// A waiting task; dropping it ends the wait.
pub(super) struct Watch {
    observer: Arc<Observer>,
    name: String,
    notify: Arc<Notify>,
}

impl Watch {
    /// Returns when something may have happened since the last call.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.observer.lock();
        // Several tasks for the same container share the entry: the last one removes it.
        if Arc::strong_count(&self.notify) <= 2 {
            waiting.names.remove(&self.name);
        }
        if waiting.names.is_empty() {
            self.observer.idle.notify_one();
        }
    }
}

impl Observer {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Every change is a single call on a map.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to watch a container.
    pub(super) fn watch(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        health: &Arc<Health>,
        installation: &str,
        name: String,
    ) -> Watch {
        let mut waiting = self.lock();
        let notify = waiting.names.entry(name.clone()).or_default().clone();
        if !waiting.running {
            waiting.running = true;
            let (observer, engine, health) = (self.clone(), engine.clone(), health.clone());
            let labels = container::ours(installation);
            tokio::spawn(async move { observer.run(&engine, &health, &labels).await });
        }
        Watch { observer: self.clone(), name, notify }
    }

    fn wake(&self, name: &str) {
        if let Some(notify) = self.lock().names.get(name) {
            notify.notify_one();
        }
    }

    /// Wakes all tasks whose containers do not run.
    fn wake_but(&self, running: &HashSet<String>) {
        for (_, notify) in self.lock().names.iter().filter(|(name, _)| !running.contains(*name)) {
            notify.notify_one();
        }
    }

    /// Returns true, and records it, if nobody waits.
    fn is_idle(&self) -> bool {
        let mut waiting = self.lock();
        waiting.running = !waiting.names.is_empty();
        !waiting.running
    }

    async fn run(&self, engine: &Engine, health: &Arc<Health>, labels: &[String]) {
        while !self.is_idle() {
            let lost = self.follow(engine, labels).await;
            if let Some(why) = lost {
                health.lost(why);
                self.until_well(health).await;
                // A stop may have been requested meanwhile, or a deadline may have passed: every task checks.
                self.wake_but(&HashSet::new());
            }
        }
    }

    /// Waits until the engine answers again, or nobody waits any more.
    async fn until_well(&self, health: &Health) {
        tokio::select! {
            () = health.well() => {}
            () = self.idle.notified() => {}
        }
    }

    /// Runs until nobody waits (`None`) or the engine is lost.
    async fn follow(&self, engine: &Engine, labels: &[String]) -> Option<String> {
        let events = match engine.events(labels) {
            Ok(events) => events,
            Err(error) => return Some(error.to_string()),
        };
        futures::pin_mut!(events);
        // The first list finds what happened before the stream was open.
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                        if let Some(name) = attributes.get("name") {
                            self.wake(name);
                        }
                    }
                    Some(Err(error)) => return Some(error.to_string()),
                    None => return Some("its stream of events ended".to_owned()),
                },
                _ = tick.tick() => match engine.list(labels).await {
                    Ok(all) => {
                        let runs = all.into_iter().filter(|one| one.state == Some(ContainerSummaryStateEnum::RUNNING));
                        let names = runs.flat_map(|one| one.names.unwrap_or_default());
                        self.wake_but(&names.map(|name| name.trim_start_matches('/').to_owned()).collect());
                    }
                    Err(error) => return Some(error.to_string()),
                },
                () = self.idle.notified() => {
                    if self.lock().names.is_empty() {
                        return None;
                    }
                }
            }
        }
    }
}
