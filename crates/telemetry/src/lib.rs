//! Logs: tracing to stderr, as text for people or as JSON lines of the Elastic Common Schema, or to the journal.
//! `DEVSTACK_LOG` filters, in the syntax of `RUST_LOG`.
//! [`cpu`] measures processor time, [`metrics`] counts. Deliberately absent: log files (the program that runs the node
//! stores its stderr).

pub mod cpu;
mod ecs;
mod journald;
mod line;
pub mod metrics;

use std::{
    io::{IsTerminal, Write},
    path::Path,
    sync::{Arc, OnceLock},
};

use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// The variable that filters log lines.
pub const LOG_VARIABLE: &str = "DEVSTACK_LOG";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Where log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Standard error; the program that started the node reads it.
    Stderr,
    /// The systemd journal, with structured fields.
    Journald,
}

/// How the log is written.
#[derive(Debug, Clone)]
pub struct Output {
    /// The format of its lines; the journal has its own format.
    pub format: Format,
    /// Where they go.
    pub target: Target,
    /// The name of this node.
    pub node: String,
}

impl Output {
    /// For people, on stderr.
    pub fn for_people() -> Self {
        Self { format: Format::Human, target: Target::Stderr, node: String::new() }
    }

    /// The function that writes each line; `None` for text lines.
    fn sink(&self) -> Result<Option<line::Sink>, String> {
        let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        let ecs = ecs::Node { name: self.node.clone(), hostname };
        let to_stderr = move |line: &line::Line| {
            // One write per line, so that lines of different threads do not mix. If stderr is gone, nobody can be
            // notified.
            let _ = std::io::stderr().write_all(&ecs.write(line, jiff::Timestamp::now()));
        };
        match (self.target, self.format) {
            (Target::Journald, _) => {
                let why = |error| format!("cannot reach the systemd journal at {}: {error}", journald::SOCKET);
                let journal = journald::Journal::at(Path::new(journald::SOCKET)).map_err(why)?;
                Ok(Some(Arc::new(move |line| {
                    // The journal is slow or gone: stderr is better than nothing.
                    if !journal.take(line) {
                        to_stderr(line);
                    }
                })))
            }
            (Target::Stderr, Format::Json) => Ok(Some(Arc::new(to_stderr))),
            (Target::Stderr, Format::Human) => Ok(None),
        }
    }
}

/// Starts logging. `default` is the filter when `DEVSTACK_LOG` is not set, for example `warn` or `devstack=info`. A
/// second call changes nothing.
///
/// # Errors
/// The filter is invalid, or there is no journal.
pub fn start(output: &Output, default: &str) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(chosen(default)?);
    let registry = tracing_subscriber::registry().with(filter);
    // This fails only if logging was already started: the first caller decides.
    let first = match output.sink()? {
        Some(sink) => registry.with(line::Lines(sink)).try_init(),
        None => {
            let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            registry.with(layer.with_ansi(std::io::stderr().is_terminal()).with_target(false)).try_init()
        }
    };
    if first.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// The id of a task's trace, as hexadecimal digits: the same in every log line about the task, on every host, and in
/// the exported spans (decision 0021).
pub fn trace_id(project: &str, task: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("devstack trace of a task, version 1");
    hasher.update(project.as_bytes()).update(b"/").update(task.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The handle with which the filter can be changed after the start.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Changes the filter after the start; `DEVSTACK_LOG` still takes precedence.
///
/// # Errors
/// The filter is invalid.
pub fn refilter(default: &str) -> Result<(), String> {
    let chosen = chosen(default)?;
    match FILTER.get() {
        Some(handle) => handle.reload(chosen).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Checks that a text is a valid filter.
///
/// # Errors
/// The reason, for users.
pub fn check_filter(text: &str) -> Result<(), String> {
    filter(text).map(drop)
}

fn chosen(default: &str) -> Result<EnvFilter, String> {
    let text = std::env::var(LOG_VARIABLE).ok().filter(|text| !text.is_empty());
    match text {
        Some(text) => filter(&text).map_err(|why| format!("{LOG_VARIABLE}: {why}")),
        None => filter(default),
    }
}

/// Parses the filter. ractor_cluster never logs below info: its debug lines print payloads.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let wrong = |e: &dyn std::fmt::Display| {
        format!("`{text}` is not a log filter ({e}); write for example `debug` or `devstack=trace`")
    };
    let kept: Vec<&str> = text.split(',').filter(|part| !part.trim_start().starts_with("ractor_cluster")).collect();
    let filter = EnvFilter::try_new(kept.join(",")).map_err(|e| wrong(&e))?;
    Ok(filter.add_directive("ractor_cluster=info".parse().map_err(|e| wrong(&e))?))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::{ecs, filter, line, trace_id};

    /// Returns the lines that are logged while `log` runs.
    fn written(log: impl FnOnce()) -> Vec<Value> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, node) = (lines.clone(), ecs::Node { name: "box2".into(), hostname: "machine".into() });
        let sink = move |line: &line::Line| {
            kept.lock().unwrap().push(serde_json::from_slice(&node.write(line, jiff::Timestamp::UNIX_EPOCH)).unwrap());
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(line::Lines(Arc::new(sink))), log);
        std::mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn a_line_says_in_the_common_schema_what_it_is_about() {
        let lines = written(|| {
            let span = tracing::info_span!("attempt", attempt = "shop/T-1/3");
            span.in_scope(|| tracing::warn!(error = "no \"room\"", host = "box2", tries = 4, "it ended\nbadly"));
            tracing::info!(task = "shop/T-1", "a task");
            tracing::info!(project = "shop", "a project");
        });
        let expected = serde_json::json!({
            "@timestamp": "1970-01-01T00:00:00.000000Z", "log.level": "warn", "message": "it ended\nbadly",
            "ecs.version": "8.11.0", "log.logger": "devstack_telemetry::tests", "service.name": "devstack",
            "service.node.name": "box2", "host.hostname": "machine", "trace.id": trace_id("shop", "T-1"),
            "devstack.project": "shop", "devstack.task": "T-1", "devstack.attempt": 3,
            "devstack.host": "box2", "devstack.tries": 4, "error.message": "no \"room\"",
        });
        assert_eq!(lines[0], expected);
        assert_eq!((&lines[1]["devstack.task"], &lines[1]["trace.id"]), (&"T-1".into(), &expected["trace.id"]));
        assert_eq!((&lines[2]["devstack.project"], lines[2].get("trace.id")), (&"shop".into(), None));
    }

    #[test]
    fn the_trace_of_a_task_is_its_own_and_stays() {
        assert_eq!(trace_id("shop", "T-1").len(), 32);
        assert_ne!(trace_id("shop", "T-1"), trace_id("shop", "T-2"));
        assert_ne!(trace_id("a", "b/c"), trace_id("a/b", "d"));
    }

    #[test]
    fn ractor_cluster_is_never_below_info() {
        for text in ["trace", "debug,ractor_cluster=trace", "ractor_cluster=debug", " ractor_cluster::node=trace,warn"]
        {
            let filter = filter(text).unwrap().to_string();
            assert!(filter.contains("ractor_cluster=info"), "{filter}");
            assert!(!filter.contains("ractor_cluster=trace") && !filter.contains("ractor_cluster::node"), "{filter}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_named() {
        assert!(filter("devstack=loud").unwrap_err().contains("devstack=loud"));
    }
}
