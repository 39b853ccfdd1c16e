//! Limits of a node: each with its unit, its default and the reason for the number.
//! Deliberately absent: the effect of reaching a limit.

use super::super::section::{Reader, Table};
use super::super::{plan_file, units};

/// One setting, for `config show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its table in the file.
    pub section: &'static str,
    /// Its key.
    pub key: &'static str,
    /// What the number counts.
    pub unit: Unit,
    /// Its default.
    pub default: u64,
    /// What the setting limits, and the reason for the number.
    pub why: &'static str,
}

/// The unit of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Written as a duration, kept in milliseconds.
    Duration,
    /// Written as a size, kept in bytes.
    Size,
    /// Written as a size or as a share of the disk; see [`units::parse_reserve`].
    Reserve,
    /// A number of things.
    Count,
}

impl Unit {
    /// A value as it is written in the file: a string, or a number for a count.
    pub fn written(self, value: u64) -> serde_json::Value {
        match self {
            Self::Duration => units::format_duration(value).into(),
            Self::Size => units::format_size(value).into(),
            Self::Reserve => units::format_reserve(value).into(),
            Self::Count => value.into(),
        }
    }
}

macro_rules! settings {
    ($($section:literal $key:ident: $unit:ident = $default:expr, $why:literal;)*) => {
        /// Every limit of a node; durations in milliseconds, sizes in bytes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $why] pub $key: u64,)*
        }

        /// The table behind [`Limits`].
        pub const SETTINGS: &[Setting] = &[$(Setting {
            section: $section, key: stringify!($key), unit: Unit::$unit, default: $default, why: $why,
        },)*];

        impl Default for Limits {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl Limits {
            /// The values in the order of [`SETTINGS`].
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$key,)*]
            }

            pub(super) fn set(&mut self, section: &str, key: &str, value: u64) {
                $(if section == $section && key == stringify!($key) { self.$key = value; })*
            }
        }
    };
}

settings! {
    "limits" plan_size: Size = plan_file::PLAN_MAX, "largest plan: about 200,000 tasks of 300 bytes";
    "limits" bundle_size: Size = 1 << 30, "largest result of an attempt or of a person: as large as the largest common repositories, packed";
    "limits" result_paths: Count = 50_000, "most changed paths of a result, over all its commits: enough to add a large library at once";
    "limits" results_size: Size = 8 << 30, "results of one agent host that wait for import: eight of the largest";
    "limits" member_requests: Count = 200, "requests per second of one agent host on average, with bursts of ten times as many: the largest hosts start ten attempts a second";
    "limits" member_slots: Count = 1_024, "most slots that an agent host can claim; `host set --max-slots` allows more: no machine of today runs as many agents";
    "limits" attempt_slack: Duration = 3 * 3_600_000, "an attempt counts as lost if its host has not reported its end after its timeout, its grace and this time: longer than preparing a workspace and `delivery`";
    "limits" request_timeout: Duration = 60_000, "longest time to answer a request that does not stream: a plan of 100,000 tasks takes 2 s";
    "limits" connections: Count = 256, "connections to the API at once: a dashboard uses 2, a command 1";
    "limits" reserved_connections: Count = 32, "part of `connections` that is reserved for admins and agent hosts: a host uses 1 for each result that it uploads";
    "limits" token_connections: Count = 16, "connections of one token at once: a browser uses 6, a script 1";
    "limits" member_connections: Count = 32, "connections of one agent host at once: more than the number of attempts that end at the same moment";
    "limits" user_connections: Count = 64, "connections of one user to the socket at once: four times the number of a token, since all browsers use one proxy";
    "limits" address_connections: Count = 8, "unauthenticated connections of one address at once, while connections are scarce: a browser opens 6";
    "limits" connection_idle: Duration = 15_000, "a connection without a request is closed after this time while half of all connections are in use: a page sends a request every few seconds";
    "limits" body_stall: Duration = 30_000, "a request is aborted if its body makes no progress for this time: by then TCP has usually retransmitted a lost packet";
    "limits" suspect_after: Duration = 8_000, "a host that is silent for this time is SUSPECT: four heartbeats";
    "limits" max_disconnect: Duration = 120_000, "attempts of a host that is disconnected for this time are replaced: longer than the network needs after a reboot, shorter than a coffee break";
    "limits" long_disconnect: Duration = 600_000, "like `max_disconnect`, for attempts of tasks with a timeout above 20 minutes: for long work it is worth waiting out a longer outage";
    "limits" disk_reserve: Reserve = units::SHARE | 5, "free space to keep on the disks of the state directory and of attempts; a share is at most 2 GiB, and applies to inodes too: below it no new attempt starts, below half of it plans and uploads are refused";
    "limits" repository_size: Size = 16 << 30, "largest history that an agent host fetches or a person uploads: a monorepo of a large company, packed";
    "limits" bundle_space: Size = 8 << 30, "bundles kept for hosts that fetch the same history or resume after a broken connection: eight of the largest common repositories";
    "limits" packers: Count = 2, "bundles packed at once: each uses one processor, and memory in proportion to the number of objects in the repository";
    "limits" answer: Duration = 900_000, "how long an agent host waits until an answer of its Taskmaster begins: packing the largest history takes ten minutes";
    "limits" delivery: Duration = 2 * 3_600_000, "an agent host gives up a result that it cannot deliver for this time although its Taskmaster is connected: long enough to fix a firewall or a full disk";
    "limits" log_size: Size = 64 << 20, "largest log of an attempt that another host ships; of a longer log only the end is shipped";
    "limits" sessions: Count = 16, "browsers signed in with one token at once: all browsers of one person; beyond it the least recently used one is signed out";
    "limits" session_idle: Duration = 2 * 3_600_000, "a browser that sends no request for this time is signed out: a long meeting";
    "limits" session_life: Duration = 24 * 3_600_000, "a browser is signed out after this time in any case: one sign-in a day";
    "limits" requests: Count = 2_000, "requests per second of one caller on average, with bursts of ten times as many: far more than people and scripts need";
    "limits" changes: Count = 500, "changes per second of one caller on average, with bursts of ten times as many: a script that changes 5,000 tasks";
    "limits" streams: Count = 192, "streams and waits of one caller at once: three quarters of the connections, so that others can connect";
    "limits" webhook_timeout: Duration = 10_000, "longest time for a webhook receiver to answer: a receiver stores the notice and answers";
    "limits" webhook_attempts: Count = 12, "tries for a notice before it is dropped: about 24 minutes, longer than a restart of a receiver";
    "limits" trace_queue: Count = 10_000, "finished tasks whose spans wait for the collector: a few MiB; beyond it spans are dropped and counted";
    "retention" facts: Count = 100_000, "facts kept for readers that resume: a day of 200 busy agents";
    "retention" attempts: Duration = 7 * 86_400_000, "how long refs and logs of attempts are kept after their task ended: a week to look back";
    "retention" audit: Size = 64 << 20, "size of the kept log of changes: 200,000 lines of 300 bytes";
}

/// Reads a limit. It must be at least one unit: zero would refuse everything.
pub(super) fn limit<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, setting: &Setting) -> Option<u64> {
    match setting.unit {
        Unit::Duration => table.duration(reader, setting.key, 1, 3650 * 86_400_000).map(|v| v.value),
        Unit::Size => table.size(reader, setting.key, 1).map(|v| v.value),
        // A reserve of zero is allowed: then a full disk is noticed only when a write fails.
        Unit::Reserve => table.reserve(reader, setting.key).map(|v| v.value),
        Unit::Count => table.integer(reader, setting.key, 1, u32::MAX).map(|v| u64::from(v.value)),
    }
}
