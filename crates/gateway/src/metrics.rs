//! Serves `/metrics`: the counters of this process, and the current state. One pass over the engine without sentences
//! and lists of tasks, so a scrape costs the same for any number of waiting tasks.
//! Deliberately absent: counting (the code that causes an event counts it).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header::CONTENT_TYPE,
    middleware::Next,
    response::{IntoResponse, Response},
};
use devstack_dag::{Engine, ids::HostName};
use serde_json::json;

use super::{
    ApiError, dto,
    openapi::{Draft, Gives},
    routes::Api,
    view,
};
use devstack_machine::disk::{Level, Room};
use devstack_telemetry::metrics::{Page, meters};

/// The current state in numbers.
#[derive(Debug, Clone)]
pub struct Standing {
    tasks: BTreeMap<String, u64>,
    waiting: BTreeMap<&'static str, u32>,
    ready: usize,
    running: u32,
    queued: usize,
    delivering: usize,
    parked: usize,
    hosts: Vec<(dto::Host, Option<Duration>)>,
    disk: Option<(Room, Level)>,
}

impl Standing {
    /// Reads the state of an engine and its hosts; `heard` returns the time since the last message of a host on another
    /// machine.
    pub fn of(engine: &Engine, hosts: Vec<dto::Host>, heard: &dyn Fn(&HostName) -> Option<Duration>) -> Self {
        let names = || engine.projects().map(|project| &project.spec.name);
        let age = |host: &dto::Host| heard(&HostName::new(&host.name).ok()?);
        Self {
            tasks: view::counted(engine.counts(None)),
            waiting: engine.waiting_counts(),
            ready: engine.ready(),
            running: engine.running_attempts(),
            queued: names().map(|project| engine.merge_queue(project).len()).sum(),
            delivering: names().filter(|project| engine.delivery_waits(project).is_some()).count(),
            parked: engine.providers().filter(|provider| provider.until.is_some()).count(),
            hosts: hosts.into_iter().map(|host| (age(&host), host)).map(|(age, host)| (host, age)).collect(),
            disk: None,
        }
    }

    /// Adds the state of the disk of the state directory.
    pub fn with_disk(mut self, disk: Option<(Room, Level)>) -> Self {
        self.disk = disk;
        self
    }

    /// The text of a scrape.
    pub fn render(&self) -> String {
        let mut page = Page::of_this_process();
        let mut tasks = page.gauge("devstack_tasks", "Tasks by status.");
        for (status, count) in &self.tasks {
            tasks.add(&[("status", status)], *count as f64);
        }
        let mut waiting =
            page.gauge("devstack_waiting_for_people", "Tasks and projects that wait for a person, by reason.");
        for (reason, count) in &self.waiting {
            waiting.add(&[("reason", reason)], f64::from(*count));
        }
        let unknown: u32 = self.hosts.iter().filter(|(host, _)| !host.up).map(|(host, _)| host.used).sum();
        for (name, help, value) in [
            ("devstack_tasks_ready", "Tasks that wait only for a slot.", self.ready as f64),
            ("devstack_attempts_running", "Running attempts.", f64::from(self.running)),
            (
                "devstack_attempts_unknown",
                "Attempts of unknown state, because their hosts are silent.",
                f64::from(unknown),
            ),
            ("devstack_merge_queue_tasks", "Tasks in the merge queues.", self.queued as f64),
            (
                "devstack_deliveries_waiting",
                "Projects whose delivery to the repository is blocked.",
                self.delivering as f64,
            ),
            ("devstack_providers_parked", "Parked providers of models.", self.parked as f64),
        ] {
            page.gauge(name, help).add(&[], value);
        }
        self.hosts(&mut page);
        disk(&mut page, self.disk);
        page.render()
    }

    fn hosts(&self, page: &mut Page) {
        let mut up = page.gauge("devstack_host_up", "Whether a host is connected.");
        for (host, _) in &self.hosts {
            up.add(&[("host", &host.name)], f64::from(u8::from(host.up)));
        }
        let help = "Time since the last message of a host on another machine; heartbeats come every few seconds.";
        let mut heard = page.gauge("devstack_host_heartbeat_age_seconds", help);
        for (host, age) in &self.hosts {
            if let Some(age) = age {
                heard.add(&[("host", &host.name)], age.as_secs_f64());
            }
        }
        let mut draining = page.gauge("devstack_host_draining", "Whether a host is draining.");
        for (host, _) in &self.hosts {
            draining.add(&[("host", &host.name)], f64::from(u8::from(host.drain.is_some())));
        }
        let mut slots = page.gauge("devstack_host_slots", "Slots for attempts, by host and state.");
        for (host, _) in &self.hosts {
            // The remaining slots are quarantined, drained, or on a silent host.
            let unusable = host.slots.saturating_sub(host.used).saturating_sub(host.free);
            for (state, count) in [("used", host.used), ("free", host.free), ("unusable", unusable)] {
                slots.add(&[("host", &host.name), ("state", state)], f64::from(count));
            }
        }
        type OfShard = fn(&dto::Shard) -> u32;
        let ports: (&str, &str, OfShard) =
            ("devstack_shard_ports", "Ports in use on a host's networks for attempts.", |shard| shard.ports);
        let capacity: (&str, &str, OfShard) =
            ("devstack_shard_ports_max", "Maximum number of ports of a network.", |shard| shard.capacity);
        for (name, help, value) in [ports, capacity] {
            let mut family = page.gauge(name, help);
            for (host, _) in &self.hosts {
                for shard in host.setup.shards.iter().flatten() {
                    family.add(&[("host", &host.name), ("shard", &shard.name)], f64::from(value(shard)));
                }
            }
        }
    }
}

pub(super) async fn metrics(State(api): State<Api>) -> Result<Exposition, ApiError> {
    Ok(Exposition(api.backend.standing().await?.render()))
}

/// The state of the disk of the state directory.
fn disk(page: &mut Page, seen: Option<(Room, Level)>) {
    let Some((room, level)) = seen else { return };
    let help = "Free bytes on the disk of the state directory.";
    page.gauge("devstack_disk_free_bytes", help).add(&[], room.free as f64);
    let help = "Free inodes on the disk of the state directory; 0 if the file system does not count them.";
    page.gauge("devstack_disk_free_files", help).add(&[], room.free_files as f64);
    let help = "1: free space below disk_reserve, no new attempts; 2: below half of it, no plans or uploads; else 0.";
    let low = match level {
        Level::Enough => 0.0,
        Level::Low => 1.0,
        Level::Scarce => 2.0,
    };
    page.gauge("devstack_disk_low", help).add(&[], low);
}

/// The metrics of an agent host.
pub(super) fn of_agent(connected: bool, seen: Option<(Room, Level)>) -> Exposition {
    let mut page = Page::of_this_process();
    let help = "Whether this host is connected to its Taskmaster.";
    page.gauge("devstack_link_up", help).add(&[], f64::from(u8::from(connected)));
    disk(&mut page, seen);
    Exposition(page.render())
}

/// Metrics in Prometheus text format.
pub(super) struct Exposition(String);

const EXPOSITION: &str = "text/plain; version=0.0.4";

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, EXPOSITION)], self.0).into_response()
    }
}

impl Gives for Exposition {
    fn gives(draft: &mut Draft) {
        draft.gives(EXPOSITION, json!({ "type": "string", "description": "Prometheus text format" }));
    }
}

/// Counts a request by the template of its route; all unknown paths count as one route.
pub(super) async fn count(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (method, began) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    meters().answered(method.as_str(), route, response.status().as_u16(), began.elapsed());
    response
}
