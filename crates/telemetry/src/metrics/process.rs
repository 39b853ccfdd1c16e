//! The kernel's data about this process, under the names that every Prometheus client uses. Deliberately absent: other
//! systems than Linux. Values that cannot be read are left out.

use std::{fs, sync::LazyLock};

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeValLike,
};

use super::Page;

/// Ticks of `/proc` per second: a constant of the kernel's interface on every machine that Rust runs on.
const TICKS: f64 = 100.0;

pub(super) fn describe(page: &mut Page) {
    if let Ok(used) = getrusage(UsageWho::RUSAGE_SELF) {
        let micros = used.user_time().num_microseconds() + used.system_time().num_microseconds();
        let help = "Processor time of the process.";
        page.counter("process_cpu_seconds_total", help).add(&[], micros as f64 / 1e6);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, help, key) in [
        ("process_resident_memory_bytes", "Resident memory of the process.", "VmRSS:"),
        ("process_virtual_memory_bytes", "Address space of the process.", "VmSize:"),
    ] {
        if let Some(kilobytes) = number(&status, key) {
            page.gauge(name, help).add(&[], kilobytes * 1024.0);
        }
    }
    if let Some(threads) = number(&status, "Threads:") {
        page.gauge("process_threads", "Threads of the process.").add(&[], threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the descriptor that reads the list.
        let open = open.count().saturating_sub(1);
        page.gauge("process_open_fds", "Open descriptors of the process.").add(&[], open as f64);
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        page.gauge("process_max_fds", "Maximum number of open descriptors.").add(&[], soft as f64);
    }
    static STARTED: LazyLock<Option<f64>> = LazyLock::new(started);
    if let Some(started) = *STARTED {
        let help = "Start time of the process, in seconds since 1970.";
        page.gauge("process_start_time_seconds", help).add(&[], started);
    }
}

/// The number after a key.
fn number(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // After the program's name, which may contain anything, field 22 is the twentieth.
    let ticks: f64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    Some(number(&fs::read_to_string("/proc/stat").ok()?, "btime")? + ticks / TICKS)
}
