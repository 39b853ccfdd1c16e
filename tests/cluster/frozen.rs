//! Hosts whose process does nothing for a while: nobody closes a connection, and nobody is heard.
//! Deliberately absent: a frozen Taskmaster (`taskmaster`).

use crate::cluster::{Cluster, NEVER, SOON};

#[test]
fn a_host_that_was_frozen_too_long_ends_what_was_replaced() {
    let mut cluster = Cluster::new(2, 2, SOON);
    cluster.submit(&[("a", &[]), ("b", &["a"])]);
    let frozen = cluster.begun("a", 1);
    cluster.host(&frozen).node.as_ref().unwrap().freeze();
    assert_ne!(cluster.begun("a", 2), frozen);
    cluster.host(&frozen).node.as_ref().unwrap().thaw();
    // It still works: it is ended, and what it has so far is kept.
    cluster.until("what it left is kept", |cluster| cluster.is_pinned("a", 1));
    assert_eq!(cluster.meeting.run("a", 1).unwrap().end, None);
    cluster.until_up(&frozen, true);
    cluster.meeting.open_all();
    cluster.completed();
    assert_eq!((cluster.attempts("a"), cluster.attempts("b")), (2, 1));
    cluster.check();
}

#[test]
fn a_second_process_does_not_join_a_frozen_one() {
    let mut cluster = Cluster::new(1, 1, NEVER);
    cluster.submit(&[("a", &[]), ("b", &["a"])]);
    cluster.begun("a", 1);
    cluster.host("h1").node.as_ref().unwrap().freeze();
    // Nothing of the first one may be touched while it may wake up at any time.
    let mut second = cluster.node("h1");
    cluster.until("the second one ends", |_| second.is_over());
    assert!(cluster.log("h1").contains("stop it first"), "it says what to do");
    cluster.kill("h1");
    cluster.start("h1");
    cluster.meeting.open_all();
    cluster.completed();
    assert_eq!((cluster.attempts("a"), cluster.attempts("b")), (1, 1));
    cluster.check();
}
