//! Logs: tracing to stderr, for people or as JSON lines. `DEVSTACK_LOG` filters, in the syntax of `RUST_LOG`.
//! [`cpu`] measures processor time, [`metrics`] counts. Deliberately absent: log files (whoever runs the node keeps its stderr).

pub mod cpu;
pub mod metrics;

use std::{io::IsTerminal, sync::OnceLock};

use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// The variable that filters log lines.
pub const LOG_VARIABLE: &str = "DEVSTACK_LOG";

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `default` is the filter when `DEVSTACK_LOG` says nothing, for example `warn` or `devstack=info`.
/// A second call changes nothing.
///
/// # Errors
/// A filter that cannot be understood.
pub fn start(format: Format, default: &str) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(chosen(default)?);
    let registry = tracing_subscriber::registry().with(filter);
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // It fails only when logging was started before: the first caller decides.
    let first = match format {
        Format::Human => registry.with(layer.with_target(false)).try_init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    if first.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// The filter of the logging that was started, to be changed.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Changes the filter of the logging that was started; `DEVSTACK_LOG` still goes first.
///
/// # Errors
/// A filter that cannot be understood.
pub fn refilter(default: &str) -> Result<(), String> {
    let chosen = chosen(default)?;
    match FILTER.get() {
        Some(handle) => handle.reload(chosen).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

/// Is this a filter?
///
/// # Errors
/// For people: why not.
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

/// The filter, with ractor_cluster never below info: its debug lines print payloads.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let wrong = |e: &dyn std::fmt::Display| {
        format!("`{text}` is no log filter ({e}); write for example `debug` or `devstack=trace`")
    };
    let kept: Vec<&str> = text.split(',').filter(|part| !part.trim_start().starts_with("ractor_cluster")).collect();
    let filter = EnvFilter::try_new(kept.join(",")).map_err(|e| wrong(&e))?;
    Ok(filter.add_directive("ractor_cluster=info".parse().map_err(|e| wrong(&e))?))
}

#[cfg(test)]
mod tests {
    use super::filter;

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
