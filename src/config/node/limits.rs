//! Limits of a node: each with its unit, its default and the reason for the number.
//! Deliberately absent: what a limit does when it is reached.

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
    /// Its value when the file says nothing.
    pub default: u64,
    /// Where the number comes from.
    pub why: &'static str,
}

/// What a limit counts.
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
    /// A value in the form in which it is written in the file: a text, or the number of a count.
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
    "limits" bundle_size: Size = 1 << 30, "largest result of an attempt or a person: the largest common repositories, packed";
    "limits" result_paths: Count = 50_000, "changed paths of a result, over all its commits: a large library added at once";
    "limits" results_size: Size = 8 << 30, "results of one agent host that wait to be taken in: eight of the largest";
    "limits" member_requests: Count = 200, "requests of one agent host a second, in the long run, and ten times that at once: the largest hosts start ten attempts a second";
    "limits" member_slots: Count = 1_024, "slots that an agent host gets by claiming them; `host set --max-slots` gives it more: no machine of today runs as many agents";
    "limits" attempt_slack: Duration = 3 * 3_600_000, "an attempt that its host neither ends nor gives up in its timeout, its grace and this is lost: longer than its workspace takes, and `delivery`";
    "limits" request_timeout: Duration = 60_000, "longest time to answer a request that does not stream: a plan of 100,000 tasks takes 2 s";
    "limits" connections: Count = 256, "connections to the API at once: a dashboard holds 2, a command 1";
    "limits" reserved_connections: Count = 32, "of these, kept for admins and agent hosts: an uploading host holds 1 for each attempt that ends";
    "limits" token_connections: Count = 16, "connections of one token at once: a person's browser holds 6, a script 1";
    "limits" member_connections: Count = 32, "connections of one agent host at once: more attempts than end in one moment";
    "limits" user_connections: Count = 64, "connections of one user to the socket at once: four times a token's, since browsers come by one proxy";
    "limits" address_connections: Count = 8, "connections of one address that have not shown who they are, where it is crowded: a browser opens 6";
    "limits" connection_idle: Duration = 15_000, "a connection without a request is ended after this long where half of all are taken: a page asks every few seconds";
    "limits" body_stall: Duration = 30_000, "a request whose body brings nothing for this long is ended: TCP has given up on a lost packet for most by then";
    "limits" suspect_after: Duration = 8_000, "a host that says nothing for this long is SUSPECT: four heartbeats";
    "limits" max_disconnect: Duration = 120_000, "attempts of a host that stays away this long are replaced: longer than a reboot's network, shorter than a coffee";
    "limits" long_disconnect: Duration = 600_000, "the same for attempts whose task has a timeout above 20 minutes: half an hour of work outlasts a longer outage";
    "limits" disk_reserve: Reserve = units::SHARE | 5, "kept free on the disks of the state directory and of attempts, a share never more than 2 GiB, of inodes the same share: below it no new attempt begins, below half of it no plan and no upload is taken";
    "limits" repository_size: Size = 16 << 30, "largest history that an agent host fetches or a person uploads: a monorepo of a large company, packed";
    "limits" bundle_space: Size = 8 << 30, "bundles kept for those who fetch the same or go on after a broken connection: eight of the largest common repositories";
    "limits" packers: Count = 2, "bundles packed at once: each takes a processor and as much memory as a large repository has objects";
    "limits" answer: Duration = 900_000, "an agent host waits this long for an answer of its Taskmaster to begin: packing the largest history takes ten minutes";
    "limits" delivery: Duration = 2 * 3_600_000, "a result that an agent host cannot hand over for this long, although its Taskmaster is there, is given up: time to mend a firewall or a full disk";
    "limits" log_size: Size = 64 << 20, "log of an attempt that is shipped from another host: its end, when it is longer";
    "limits" sessions: Count = 16, "browsers signed in with one token at once: those of a person; the one not used longest has to go";
    "limits" session_idle: Duration = 2 * 3_600_000, "a browser that asks for nothing this long is signed out: a long meeting";
    "limits" session_life: Duration = 24 * 3_600_000, "a browser is signed out after this long in any case: every day begins with the token";
    "limits" requests: Count = 2_000, "requests of one caller a second, in the long run, and ten times that at once: no person and no script comes near";
    "limits" changes: Count = 500, "changes of one caller a second, in the long run, and ten times that at once: a script that moves 5,000 tasks";
    "limits" streams: Count = 192, "streams and waits of one caller at once: three quarters of the connections, so that others get in";
    "limits" webhook_timeout: Duration = 10_000, "longest time for a receiver of notices to answer: it stores and answers";
    "limits" webhook_attempts: Count = 12, "tries for a notice before it is given up: about 24 minutes, longer than a restart of a receiver";
    "limits" trace_queue: Count = 10_000, "finished tasks whose spans wait for the collector: some MiB, then they are dropped and counted";
    "retention" facts: Count = 100_000, "facts kept for readers that resume: a day of 200 busy agents";
    "retention" attempts: Duration = 7 * 86_400_000, "refs and logs of attempts after their task ended: a week to look back";
    "retention" audit: Size = 64 << 20, "log of changes kept: 200,000 lines of 300 bytes";
}

/// A limit of zero would refuse everything: at least one of its unit.
pub(super) fn limit<'i>(reader: &mut Reader<'i>, table: &mut Table<'i>, setting: &Setting) -> Option<u64> {
    match setting.unit {
        Unit::Duration => table.duration(reader, setting.key, 1, 3650 * 86_400_000).map(|v| v.value),
        Unit::Size => table.size(reader, setting.key, 1).map(|v| v.value),
        // Nothing may be kept free: then a full disk is found when something cannot be written.
        Unit::Reserve => table.reserve(reader, setting.key).map(|v| v.value),
        Unit::Count => table.integer(reader, setting.key, 1, u32::MAX).map(|v| u64::from(v.value)),
    }
}
