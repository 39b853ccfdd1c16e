//! An actor that fails every time: the node stops with its reason, and a start without the fault finishes the plan.

use crate::node::{CAFE, CAFE_TASKS, Site, ensure, in_parallel};

const FAULTS: [(&str, &str); 3] = [
    ("agent-host-order", "the AgentHost failed too often"),
    ("taskmaster-report", "the Taskmaster failed too often"),
    ("devops-before-import", "DevOps of cafe failed too often"),
];

#[test]
fn an_actor_that_always_fails_stops_the_node_loudly() {
    in_parallel(3, &FAULTS, |(point, reason)| {
        let (site, fault) = (Site::new(), format!("{point}:panic:always"));
        let ended = site.quickstart(Some(&fault)).finish();
        let loud = ended.status.code() == Some(1) && ended.stderr.contains(reason);
        ensure(loud, || format!("with {fault}: {ended:?}"))?;
        let clean = site.quickstart(None).finish();
        ensure(clean.status.success(), || format!("after {fault}: {clean:?}"))?;
        site.check(CAFE, &CAFE_TASKS).map_err(|error| format!("after {fault}: {error}"))
    });
}
