//! The Taskmaster dies or sleeps while everything runs on its hosts.
//! Deliberately absent: kills at every point of its work, on one machine (tests/faults).

use crate::cluster::{Cluster, NEVER, SOON};

#[test]
fn a_killed_taskmaster_loses_nothing_and_runs_nothing_twice() {
    let mut cluster = Cluster::new(2, 2, NEVER);
    cluster.submit(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &["a", "b"]), ("e", &["c", "d"])]);
    for task in ["a", "b", "c"] {
        cluster.begun(task, 1);
    }
    cluster.taskmaster = None;
    cluster.meeting.open("a");
    cluster.ended("a", 1);
    cluster.start_taskmaster();
    cluster.meeting.open("b");
    // And again, whatever of the results is taken just now.
    cluster.ended("b", 1);
    cluster.taskmaster = None;
    cluster.start_taskmaster();
    cluster.meeting.open_all();
    cluster.completed();
    for task in ["a", "b", "c", "d", "e"] {
        assert_eq!(cluster.attempts(task), 1, "{task}");
    }
    cluster.check();
}

#[test]
fn nobody_is_lost_because_the_taskmaster_slept() {
    let mut cluster = Cluster::new(2, 1, SOON);
    cluster.submit(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
    for task in ["a", "b"] {
        cluster.begun(task, 1);
    }
    cluster.taskmaster.as_ref().unwrap().freeze();
    // Longer than every limit: its hosts give their sessions up.
    cluster.until("both hosts notice", |cluster| {
        ["h1", "h2"].iter().all(|host| cluster.log(host).contains("disconnected; attempts continue"))
    });
    cluster.taskmaster.as_ref().unwrap().thaw();
    cluster.meeting.open_all();
    cluster.completed();
    for task in ["a", "b", "c"] {
        assert_eq!(cluster.attempts(task), 1, "{task}");
    }
    cluster.check();
}
