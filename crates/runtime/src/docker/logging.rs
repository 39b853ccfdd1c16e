//! The engine's log driver for a container, and the origin labels of each line that the driver receives. Pure.
//!
//! Deliberately absent: redaction and the size limit of the output (the shim's), and receivers (the engine's).

use std::collections::HashMap;

use bollard::models::HostConfigLogConfig;
use devstack_dag::ids::AttemptId;

use super::container::{ATTEMPT, HOST, PROJECT, TASK, TRACE};
use devstack_config::node::{ContainerLog, LogDriver};
use devstack_telemetry::trace_id;

/// Size and number of the engine's files: the recent output of a container.
const FILES: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];
/// A slow receiver must not block anything: beyond this many bytes, output that it does not take in time is dropped.
const AFAR: [(&str, &str); 2] = [("mode", "non-blocking"), ("max-buffer-size", "4m")];
/// Compressing each line is so slow that a container with a flood of output ends a minute late: the engine first hands
/// over what it kept.
const GELF: [(&str, &str); 1] = [("gelf-compression-type", "none")];
/// A missing receiver does not prevent a container from starting.
const FLUENTD: [(&str, &str); 1] = [("fluentd-async", "true")];

/// The log configuration for the engine.
pub(super) fn config(log: &ContainerLog, attempt: &AttemptId, host: &str) -> HostConfigLogConfig {
    let driver = log.driver;
    let mut options: HashMap<String, String> = HashMap::new();
    let mut set = |defaults: &[(&str, &str)]| {
        options.extend(defaults.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    };
    match driver {
        LogDriver::None => {}
        LogDriver::JsonFile | LogDriver::Local => set(&FILES),
        LogDriver::Journald | LogDriver::Syslog => set(&AFAR),
        LogDriver::Gelf => set(&[&AFAR[..], &GELF].concat()),
        LogDriver::Fluentd => set(&[&AFAR[..], &FLUENTD].concat()),
    }
    if matches!(driver, LogDriver::JsonFile | LogDriver::Journald | LogDriver::Gelf | LogDriver::Fluentd) {
        set(&[("labels", &[PROJECT, TASK, ATTEMPT, HOST, TRACE].join(","))]);
    }
    if let Some(tag) = tag(driver, attempt, host) {
        set(&[("tag", &tag)]);
    }
    options.extend(log.options.clone());
    HostConfigLogConfig { typ: Some(driver.word().to_owned()), config: Some(options) }
}

/// For drivers that route by a tag; our names contain no dot. Syslog has no labels: there the tag contains everything.
fn tag(driver: LogDriver, attempt: &AttemptId, host: &str) -> Option<String> {
    let AttemptId { task, number } = attempt;
    let of = format!("devstack.{}.{}.{number}", task.project, task.id);
    match driver {
        LogDriver::None | LogDriver::JsonFile | LogDriver::Local => None,
        LogDriver::Journald | LogDriver::Gelf | LogDriver::Fluentd => Some(of),
        LogDriver::Syslog => Some(format!("{of}.{host}.{}", trace_id(task.project.as_str(), task.id.as_str()))),
    }
}

/// Why the engine refuses a container, if the reason is its log driver: with the configuration key and a fix.
pub(super) fn refused(log: &ContainerLog, why: &str) -> Option<String> {
    let of_logging = ["log driver", "log opt", "logger:", "logging driver", "logging plugin", "max-file", "max-size"];
    of_logging.iter().any(|word| why.contains(word)).then(|| {
        format!(
            "the engine rejects log_driver = \"{}\" of [agent_host] with its log_options: {why}; fix them in node.toml \
             (`docker info` lists the engine's drivers), or remove both to use json-file, and restart the node",
            log.driver.word()
        )
    })
}

/// Whether a start failed because the driver's receiver is missing, or because the driver itself cannot work here.
pub(super) fn is_absent(why: &str) -> bool {
    why.contains("initialize logging driver")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use devstack_dag::ids::{ProjectName, TaskId, TaskRef};

    use super::*;

    fn options(driver: LogDriver, own: &[(&str, &str)]) -> Vec<String> {
        let task = TaskRef { project: ProjectName::new("shop").unwrap(), id: TaskId::new("T-1").unwrap() };
        let options = own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let made = config(&ContainerLog { driver, options }, &AttemptId { task, number: 3 }, "box2");
        assert_eq!(made.typ.as_deref(), Some(driver.word()));
        let mut all: Vec<String> = made.config.unwrap().iter().map(|(key, value)| format!("{key}={value}")).collect();
        all.sort();
        all
    }

    const LABELS: &str = "labels=devstack.project,devstack.task,devstack.attempt,devstack.host,devstack.trace.id";

    #[test]
    fn files_are_bounded_and_receivers_keep_nobody() {
        assert_eq!(options(LogDriver::JsonFile, &[("max-file", "2")]), [LABELS, "max-file=2", "max-size=10m"]);
        assert_eq!(options(LogDriver::Local, &[]), ["max-file=3", "max-size=10m"]);
        let (buffer, mode) = ("max-buffer-size=4m", "mode=non-blocking");
        let fluentd = options(LogDriver::Fluentd, &[]);
        assert_eq!(fluentd, ["fluentd-async=true", LABELS, buffer, mode, "tag=devstack.shop.T-1.3"]);
        let gelf = options(LogDriver::Gelf, &[("gelf-address", "udp://x:1"), ("mode", "blocking"), ("tag", "t")]);
        assert_eq!(
            gelf,
            ["gelf-address=udp://x:1", "gelf-compression-type=none", LABELS, buffer, "mode=blocking", "tag=t"]
        );
        let tag = format!("tag=devstack.shop.T-1.3.box2.{}", trace_id("shop", "T-1"));
        assert_eq!(options(LogDriver::Syslog, &[]), [buffer, mode, &tag]);
        assert!(options(LogDriver::None, &[]).is_empty());
    }
}
