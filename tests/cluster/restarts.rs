//! kill -9 of an agent host while attempts run on it. It comes back in time and keeps its work, or too late.
//! Deliberately absent: hosts that live and are not heard (`frozen`, `partitions`).

use crate::{
    cluster::{Cluster, NEVER, SOON},
    history::agents_below,
};

#[test]
fn a_killed_host_that_returns_keeps_its_work() {
    let mut cluster = Cluster::new(3, 1, NEVER);
    cluster.submit(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &["a", "b"]), ("e", &["c", "d"])]);
    let on = ["a", "b", "c"].map(|task| cluster.begun(task, 1));
    assert!(on[0] != on[1] && on[1] != on[2] && on[0] != on[2], "each has one slot: {on:?}");
    // What it says of itself is shown, and stays while it is away; of a host or by a Taskmaster of the version before:
    // nothing.
    let setup = |cluster: &Cluster| {
        let host = cluster.ask(&["host", "show", &on[0]])["host"].clone();
        if Cluster::IS_SKEWED.iter().any(|variable| std::env::var_os(variable).is_some()) && host["version"].is_null() {
            return;
        }
        assert!(host["sandbox"].as_str().is_some_and(|sandbox| sandbox.starts_with("unsandboxed: ")), "{host}");
        assert_eq!((&host["runtime"], &host["version"]), (&"process".into(), &env!("CARGO_PKG_VERSION").into()));
    };
    setup(&cluster);
    // One attempt ends while its node is dead, the other goes on through it.
    cluster.kill(&on[0]);
    cluster.kill(&on[1]);
    cluster.until_up(&on[0], false);
    cluster.until_up(&on[1], false);
    assert!(cluster.says(&["task", "explain", "b"]).contains("UNKNOWN"));
    setup(&cluster);
    assert!(agents_below(cluster.root()).len() >= 3, "agents outlive their node");
    cluster.meeting.open("a");
    cluster.ended("a", 1);
    cluster.start(&on[0]);
    cluster.start(&on[1]);
    cluster.until_up(&on[0], true);
    cluster.until_up(&on[1], true);
    assert!(!cluster.says(&["task", "explain", "b"]).contains("UNKNOWN"));
    cluster.meeting.open_all();
    cluster.completed();
    for task in ["a", "b", "c", "d", "e"] {
        assert_eq!(cluster.attempts(task), 1, "{task}");
    }
    cluster.check();
}

#[test]
fn a_host_that_stays_away_is_replaced_and_its_work_is_salvaged() {
    let mut cluster = Cluster::new(2, 2, SOON);
    cluster.submit(&[("a", &[]), ("b", &["a"])]);
    let gone = cluster.begun("a", 1);
    cluster.kill(&gone);
    let other = cluster.begun("a", 2);
    assert_ne!(other, gone);
    // The fenced one comes to its end, even with success, while the new one works.
    cluster.meeting.open("a.1");
    cluster.ended("a", 1);
    cluster.start(&gone);
    cluster.until("what it left is kept", |cluster| cluster.is_pinned("a", 1));
    cluster.meeting.open_all();
    cluster.completed();
    assert_eq!((cluster.attempts("a"), cluster.attempts("b")), (2, 1));
    cluster.check();
}
