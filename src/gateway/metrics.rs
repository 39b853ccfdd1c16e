//! `/metrics` in Prometheus text form, made from answers when asked: nothing is counted while nobody looks.
//! Deliberately absent: metrics of what is not built.

use std::fmt::Write;

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};

use serde_json::json;

use super::{
    ApiError, dto,
    openapi::{Draft, Gives},
    routes::Api,
};
use crate::telemetry::cpu;

pub(super) async fn metrics(State(api): State<Api>) -> Result<Exposition, ApiError> {
    Ok(Exposition(render(&api.backend.status().await?)))
}

/// Metrics in Prometheus' text form.
pub(super) struct Exposition(String);

const EXPOSITION: &str = "text/plain; version=0.0.4";

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, EXPOSITION)], self.0).into_response()
    }
}

impl Gives for Exposition {
    fn gives(draft: &mut Draft) {
        draft.gives(EXPOSITION, json!({ "type": "string", "description": "Prometheus' text form" }));
    }
}

/// Writing into a `String` cannot fail, so results of `write!` are dropped.
fn render(overview: &dto::Overview) -> String {
    let mut out = String::new();
    let head = |out: &mut String, name: &str, kind: &str, help: &str| {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    };
    head(&mut out, "devstack_tasks", "gauge", "Tasks by status.");
    for (status, count) in &overview.tasks {
        let _ = writeln!(out, "devstack_tasks{{status=\"{status}\"}} {count}");
    }
    head(&mut out, "devstack_host_up", "gauge", "Whether a host is connected.");
    for host in &overview.hosts {
        let _ = writeln!(out, "devstack_host_up{{host=\"{}\"}} {}", host.name, u8::from(host.up));
    }
    head(&mut out, "devstack_slots", "gauge", "Room for attempts by host.");
    for host in &overview.hosts {
        let _ = writeln!(out, "devstack_slots{{host=\"{}\"}} {}", host.name, host.slots);
    }
    head(&mut out, "devstack_slots_used", "gauge", "Attempts running by host.");
    for host in &overview.hosts {
        let _ = writeln!(out, "devstack_slots_used{{host=\"{}\"}} {}", host.name, host.used);
    }
    head(&mut out, "devstack_host_slots", "gauge", "Room for attempts by host and state.");
    for host in &overview.hosts {
        // What is neither is quarantined, drained, or of a host that is silent.
        let unusable = host.slots.saturating_sub(host.used).saturating_sub(host.free);
        for (state, slots) in [("used", host.used), ("free", host.free), ("unusable", unusable)] {
            let _ = writeln!(out, "devstack_host_slots{{host=\"{}\",state=\"{state}\"}} {slots}", host.name);
        }
    }
    head(&mut out, "devstack_shard_ports", "gauge", "Ports in use of a host's networks for attempts.");
    for host in &overview.hosts {
        for shard in host.setup.shards.iter().flatten() {
            let (name, ports) = (escaped(&shard.name), shard.ports);
            let _ = writeln!(out, "devstack_shard_ports{{host=\"{}\",shard=\"{name}\"}} {ports}", host.name);
        }
    }
    head(&mut out, "devstack_attempts_unknown", "gauge", "Attempts that nobody knows about: their hosts are silent.");
    let _ = writeln!(out, "devstack_attempts_unknown {}", overview.unknown);
    head(&mut out, "devstack_waiting_for_people", "gauge", "Tasks that wait for a person.");
    let _ = writeln!(out, "devstack_waiting_for_people {}", overview.waiting.len());
    for (name, help, cpu) in [
        ("devstack_taskmaster_cpu_seconds_total", "Processor time of the Taskmaster.", &cpu::TASKMASTER),
        ("devstack_journal_cpu_seconds_total", "Processor time of the journal's thread.", &cpu::JOURNAL),
    ] {
        head(&mut out, name, "counter", help);
        let _ = writeln!(out, "{name} {}", cpu.spent().as_secs_f64());
    }
    out
}

/// A label's value that another machine chose.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
