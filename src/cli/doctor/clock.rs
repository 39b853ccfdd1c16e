//! The clocks: is the wall clock set, does it agree with the Taskmaster's, and is there one that does not jump.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::{Check, Health, check};
use crate::{cli::client::Client, gateway::dto::Time};

/// A clock before this (2025-01-01) was never set, in seconds since 1970.
const NEEDED: u64 = 1_735_689_600;
/// The header has whole seconds, and the answer takes a moment.
const SKEW_SEEN: u64 = 5;
/// A certificate that was just made is valid from a few minutes ago on.
const SKEW_REFUSED: u64 = 300;
/// The longest wait for the node.
const ANSWER: Duration = Duration::from_secs(10);
const MEND: &str = "start a time service on both machines: systemctl enable --now systemd-timesyncd";

/// Looks at the clocks of this machine, and of a node if there is one to ask.
pub(super) async fn examine(node: Option<&Client>) -> Vec<Check> {
    let mut checks = vec![wall(now()), boottime(read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC))];
    if let Some(node) = node {
        checks.push(taskmaster(node).await);
    }
    checks
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn read(clock: ClockId) -> Option<Duration> {
    clock_gettime(clock).ok().map(Duration::from)
}

fn wall(now: u64) -> Check {
    if now >= NEEDED {
        return check("clock", Health::Ok, Time(now * 1000).to_string(), None);
    }
    let hint = "start a time service: systemctl enable --now systemd-timesyncd";
    check("clock", Health::Warning, "the clock is not set: times will be wrong", Some(hint))
}

/// Leases and deadlines run on it.
fn boottime(boot: Option<Duration>, monotonic: Option<Duration>) -> Check {
    match (boot, monotonic) {
        (Some(boot), Some(monotonic)) if boot >= monotonic => {
            check("boottime", Health::Ok, format!("up for {} s, with the time asleep", boot.as_secs()), None)
        }
        _ => {
            let hint = "use Linux 5.4 or newer, outside of emulators";
            check("boottime", Health::Failed, "CLOCK_BOOTTIME cannot be read", Some(hint))
        }
    }
}

async fn taskmaster(node: &Client) -> Check {
    let asked = tokio::time::timeout(ANSWER, node.answer("/healthz")).await;
    let silent = |why: String| {
        check(
            "taskmaster",
            Health::Failed,
            why,
            Some("start the node, and open its port; see --address and the context"),
        )
    };
    match asked {
        Err(_) => silent(format!("it does not answer within {} s", ANSWER.as_secs())),
        Ok(Err(error)) => silent(error.to_string()),
        Ok(Ok(answer)) => {
            let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).and_then(parse);
            match date {
                Some(theirs) => skew(now(), theirs),
                None => check("taskmaster", Health::Ok, "it answers, and does not say what time it has", None),
            }
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970.
fn parse(date: &str) -> Option<u64> {
    let at = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    u64::try_from(at).ok()
}

fn skew(ours: u64, theirs: u64) -> Check {
    let by = ours.abs_diff(theirs);
    let side = if ours > theirs { "ahead of" } else { "behind" };
    match by {
        0..SKEW_SEEN => check("taskmaster", Health::Ok, "it answers, and its clock agrees", None),
        SKEW_SEEN..SKEW_REFUSED => {
            let message = format!("this clock is {by} s {side} its clock");
            check("taskmaster", Health::Warning, message, Some(MEND))
        }
        _ => {
            let message = format!("this clock is {by} s {side} its clock: certificates are refused");
            check("taskmaster", Health::Failed, message, Some(MEND))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_judged_by_what_depends_on_them() {
        assert_eq!([wall(0).status, wall(NEEDED).status], [Health::Warning, Health::Ok]);
        let seconds = Duration::from_secs;
        assert_eq!(boottime(Some(seconds(9)), Some(seconds(8))).status, Health::Ok);
        assert_eq!(boottime(Some(seconds(7)), Some(seconds(8))).status, Health::Failed);
        assert_eq!(boottime(None, Some(seconds(8))).status, Health::Failed);
        let of = |ours, theirs| skew(ours, theirs).status;
        assert_eq!(
            [of(100, 100), of(104, 100), of(100, 105), of(399, 100), of(400, 100)],
            [Health::Ok, Health::Ok, Health::Warning, Health::Warning, Health::Failed]
        );
        assert!(skew(10, 20).message.contains("10 s behind") && skew(20, 10).message.contains("ahead of"));
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse("yesterday"), None);
    }
}
