//! Hosts whose process does nothing for a while: nobody closes a connection, and nobody is heard.
//! Deliberately absent: a frozen Taskmaster (`taskmaster`).

use crate::cluster::{Cluster, SOON};

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
