//! A panic at every named point of `quickstart`: the same process goes on, or ends with its reason.

use devstack::fault::Point;

use crate::node::{CAFE, CAFE_TASKS, Site, ensure, in_parallel};

/// Stories at once: they mostly sleep.
const WIDTH: usize = 4;
/// Which time a point is hit: amid the story. Each is hit at least so often.
const NTH: u32 = 3;

#[test]
fn a_panic_at_every_point_is_survived_or_said() {
    in_parallel(WIDTH, Point::ALL, |&point| {
        let (site, fault) = (Site::new(), format!("{}:panic:{NTH}", point.name()));
        let told = |error: String| format!("with {fault}: {error}");
        let first = site.quickstart(Some(&fault)).finish();
        let hit = first.stderr.contains(&format!("injected fault at {}", point.name()));
        ensure(hit, || format!("{fault} was never hit: {first:?}"))?;
        // Nobody knows what a journal that panicked has written: the process must end, loudly.
        if first.stderr.contains("thread 'journal'") {
            let loud = first.status.code() == Some(1) && first.stderr.contains("the store cannot be written any more");
            ensure(loud, || format!("with {fault}: {first:?}"))?;
            let second = site.quickstart(None).finish();
            ensure(second.status.success(), || format!("after {fault}: {second:?}"))?;
        } else {
            let journals = matches!(point, Point::JournalBeforeCommit | Point::JournalAfterCommit);
            ensure(!journals && first.status.success(), || format!("with {fault}: {first:?}"))?;
        }
        site.check(CAFE, &CAFE_TASKS).map_err(|error| format!("{}\n{}", told(error), first.stderr))
    });
}
