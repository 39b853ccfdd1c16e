//! kill -9 of the node, at every named point and at random moments of `quickstart`.

use std::time::Duration;

use devstack::fault::Point;

use crate::node::{CAFE, CAFE_TASKS, Site, ensure, in_parallel};

/// Stories at once: they mostly sleep.
const WIDTH: usize = 4;

/// The random moments; the same seed gives the same moments.
const SEED: u64 = 0x5eed_cafe;
const MOMENTS: usize = 50;
const STORIES: usize = 10;
/// A story takes some 8 s, and a killed one goes on where it was: moments up to here hit all of it.
const LONGEST_MS: u64 = 4_000;

/// Which time a point is hit: amid the story, not at its first step.
pub(crate) fn nth(point: Point) -> u32 {
    match point {
        Point::JournalBeforeCommit => 12,
        Point::JournalAfterCommit => 20,
        Point::TaskmasterBeforeEffect => 9,
        Point::TaskmasterReport
        | Point::AttemptBeforeStart
        | Point::AttemptAfterStart
        | Point::AttemptBeforeReport
        | Point::AttemptBeforeForget
        | Point::DevopsAfterPin
        | Point::DevopsAfterPrepare => 3,
        Point::AgentHostOrder => 4,
        Point::DevopsBeforeImport
        | Point::DevopsBeforeSwap
        | Point::DevopsAfterSwap
        | Point::DevopsBeforeDeliver
        | Point::DevopsAfterDeliver => 2,
    }
}

#[test]
fn a_kill_at_every_point_loses_nothing_and_leaves_nothing() {
    in_parallel(WIDTH, Point::ALL, |&point| {
        let (site, fault) = (Site::new(), format!("{}:kill:{}", point.name(), nth(point)));
        let killed = site.quickstart(Some(&fault)).finish();
        ensure(killed.was_killed(), || format!("{fault} was never hit: {killed:?}"))?;
        finishes(&site).map_err(|error| format!("after {fault}: {error}"))
    });
}

#[test]
fn fifty_kills_at_random_moments_lose_nothing_and_leave_nothing() {
    let mut random = SplitMix(SEED);
    let stories: Vec<Vec<Duration>> = (0..STORIES)
        .map(|_| (0..MOMENTS / STORIES).map(|_| Duration::from_millis(random.next() % LONGEST_MS)).collect())
        .collect();
    let kills = std::sync::atomic::AtomicUsize::new(0);
    in_parallel(WIDTH, &stories, |moments| {
        let mut site = Site::new();
        for &moment in moments {
            if !site.quickstart(None).kill_after(moment) {
                // It came to its end before: that is checked, and the kill is made up for in a new story.
                finishes(&site).map_err(|error| format!("after some of {moments:?}: {error}"))?;
                site = Site::new();
                ensure(site.quickstart(None).kill_after(moment), || format!("a story within {moment:?}"))?;
            }
            kills.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        finishes(&site).map_err(|error| format!("after {moments:?}: {error}"))
    });
    assert_eq!(kills.into_inner(), MOMENTS);
}

/// Without a fault the same command comes to its end, and everything holds.
pub(crate) fn finishes(site: &Site) -> Result<(), String> {
    let finished = site.quickstart(None).finish();
    ensure(finished.status.success(), || format!("{finished:?}"))?;
    site.check(CAFE, &CAFE_TASKS).map_err(|error| format!("{error}\n{}", finished.stderr))
}

/// SplitMix64: all the randomness that moments need.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
