//! The clocks: whether the wall clock is set and agrees with the Taskmaster's, and whether a monotonic clock works.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::{Check, Health, check};
use crate::client::Client;
use devstack_api::dto::Time;

/// A clock before this time (2025-01-01, in seconds since 1970) was never set.
const NEEDED: u64 = 1_735_689_600;
/// Ignored skew: the header has whole seconds, and the answer takes a moment.
const SKEW_SEEN: u64 = 5;
/// The skew at which certificates are refused: a new certificate is valid from a few minutes before its creation.
const SKEW_REFUSED: u64 = 300;
/// The longest wait for the node.
const ANSWER: Duration = Duration::from_secs(10);
const FIX: &str = "start a time service on both machines: systemctl enable --now systemd-timesyncd";

/// Checks the clocks of this machine, and of a node if one is known.
pub(super) async fn examine(node: Option<&Client>) -> Vec<Check> {
    let mut checks = vec![wall(now()), boottime(read)];
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

/// Checks CLOCK_BOOTTIME, which leases and deadlines use. It counts the monotonic time plus the time asleep, so it is
/// never behind CLOCK_MONOTONIC. It must be read last, since both clocks advance between the readings.
fn boottime(read: impl Fn(ClockId) -> Option<Duration>) -> Check {
    let failed = |why: &str| {
        let hint = "use Linux 5.4 or newer, outside of emulators";
        check("boottime", Health::Failed, why, Some(hint))
    };
    let (Some(monotonic), Some(boot)) = (read(ClockId::CLOCK_MONOTONIC), read(ClockId::CLOCK_BOOTTIME)) else {
        return failed("CLOCK_BOOTTIME or CLOCK_MONOTONIC cannot be read");
    };
    if boot < monotonic {
        return failed("CLOCK_BOOTTIME is behind CLOCK_MONOTONIC: it does not count the time asleep");
    }
    check("boottime", Health::Ok, format!("up for {} s, with the time asleep", boot.as_secs()), None)
}

async fn taskmaster(node: &Client) -> Check {
    let asked = tokio::time::timeout(ANSWER, node.answer("/healthz")).await;
    let silent = |why: String| {
        check(
            "taskmaster",
            Health::Failed,
            why,
            Some("start the node, open its port, and check --address and the context"),
        )
    };
    match asked {
        Err(_) => silent(format!("the node does not answer within {} s", ANSWER.as_secs())),
        Ok(Err(error)) => silent(error.to_string()),
        Ok(Ok(answer)) => {
            let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).and_then(parse);
            match date {
                Some(theirs) => skew(now(), theirs),
                None => check("taskmaster", Health::Ok, "the node answers, without its time", None),
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
        0..SKEW_SEEN => check("taskmaster", Health::Ok, "the node answers, and its clock agrees", None),
        SKEW_SEEN..SKEW_REFUSED => {
            let message = format!("this machine's clock is {by} s {side} the node's clock");
            check("taskmaster", Health::Warning, message, Some(FIX))
        }
        _ => {
            let message = format!("this machine's clock is {by} s {side} the node's clock: certificates are refused");
            check("taskmaster", Health::Failed, message, Some(FIX))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn clocks_are_judged_by_what_depends_on_them() {
        assert_eq!([wall(0).status, wall(NEEDED).status], [Health::Warning, Health::Ok]);
        let of = |ours, theirs| skew(ours, theirs).status;
        assert_eq!(
            [of(100, 100), of(104, 100), of(100, 105), of(399, 100), of(400, 100)],
            [Health::Ok, Health::Ok, Health::Warning, Health::Warning, Health::Failed]
        );
        assert!(skew(10, 20).message.contains("10 s behind") && skew(20, 10).message.contains("ahead of"));
    }

    /// A clock that shows `boot` and `monotonic` seconds and advances by a microsecond with every reading, as real
    /// clocks do.
    fn clocks(boot: Option<u64>, monotonic: Option<u64>) -> impl Fn(ClockId) -> Option<Duration> {
        let readings = Cell::new(0);
        move |clock| {
            readings.set(readings.get() + 1);
            let shown = if clock == ClockId::CLOCK_BOOTTIME { boot } else { monotonic };
            Some(Duration::from_secs(shown?) + Duration::from_micros(readings.get()))
        }
    }

    #[test]
    fn a_machine_that_never_slept_is_well_and_one_whose_clocks_disagree_is_not() {
        let of = |boot, monotonic| boottime(clocks(boot, monotonic)).status;
        assert_eq!(of(Some(8), Some(8)), Health::Ok, "it never slept");
        assert_eq!(of(Some(9), Some(8)), Health::Ok, "it slept for a second");
        assert_eq!(of(Some(7), Some(8)), Health::Failed);
        assert_eq!([of(None, Some(8)), of(Some(8), None)], [Health::Failed; 2]);
        assert_eq!(boottime(read).status, Health::Ok, "this machine's own");
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse("yesterday"), None);
    }
}
