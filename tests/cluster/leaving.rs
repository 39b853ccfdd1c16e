//! People empty a host, use it again, and take it out of the cluster.
//! Deliberately absent: the rules of draining (crate dag), and refusals of the API (tests/api).

use crate::{
    cluster::{Cluster, NEVER},
    history::agents_below,
    proxy::Cut,
};

/// What the node of a removed host says.
const REMOVED: &str = "no longer a member of its cluster: ending its attempts";

#[test]
fn a_host_is_drained_used_again_and_removed() {
    let mut cluster = Cluster::new(2, 3, NEVER);
    cluster.submit(&[("a", &[])]);
    let first = cluster.begun("a", 1);
    cluster.says(&["host", "drain", &first]);
    cluster.submit(&[("a", &[]), ("b", &[])]);
    let second = cluster.begun("b", 1);
    assert_ne!(second, first, "a drained host gets nothing");
    // What runs there may finish, until there is a deadline.
    cluster.says(&["host", "drain", &first, "--deadline", "100ms"]);
    assert_eq!(cluster.begun("a", 2), second);
    cluster.until("what it did so far is kept", |cluster| cluster.is_pinned("a", 1));
    cluster.says(&["host", "undrain", &first]);
    cluster.says(&["host", "drain", &second]);
    cluster.submit(&[("a", &[]), ("b", &[]), ("c", &[])]);
    assert_eq!(cluster.begun("c", 1), first, "it is used again");
    cluster.meeting.open_all();
    cluster.completed();
    cluster.check();

    cluster.says(&["host", "remove", &second, "--force"]);
    cluster.until("its link is cut", |cluster| cluster.log(&second).contains("disconnected"));
    // With the certificate that it still has it comes back no more, not even as a new process.
    cluster.kill(&second);
    cluster.start(&second);
    let refused = |cluster: &Cluster| cluster.log(&second).matches("is not admitted").count();
    let before = refused(&cluster);
    cluster.until("it is refused", |cluster| refused(cluster) > before);
    let hosts = cluster.ask(&["host", "list"])["hosts"].clone();
    assert_eq!(hosts.as_array().unwrap().len(), 1, "{hosts}");
}

impl Cluster {
    /// Waits until nothing of an attempt runs on a host that nobody orders anything any more. The agents here wait for
    /// a gate that stays closed, with a timeout of half an hour.
    #[track_caller]
    fn ends_its_attempts(&mut self, host: &str) {
        self.until("its node says why", |cluster| cluster.log(host).contains(REMOVED));
        self.until("its agents are ended", |cluster| agents_below(&cluster.path(host)).is_empty());
    }
}

#[test]
fn a_removed_host_ends_its_attempts_and_gives_them_in_when_it_joins_again() {
    let mut cluster = Cluster::new(2, 2, NEVER);
    cluster.submit(&[("a", &[])]);
    let removed = cluster.begun("a", 1);
    cluster.says(&["host", "remove", &removed, "--force"]);
    assert!(cluster.log("taskmaster").contains("the removed host ends its attempts"), "it took the word");
    cluster.ends_its_attempts(&removed);
    assert_ne!(cluster.begun("a", 2), removed);
    assert_eq!(cluster.meeting.run("a", 1).unwrap().end, None, "it did not end by itself");
    // A person lets the machine in again: what it did is not lost.
    cluster.kill(&removed);
    for old in ["node.toml", "cluster"] {
        std::fs::rename(cluster.path(&removed).join(old), cluster.path(&removed).join(format!("{old}.old"))).unwrap();
    }
    cluster.add_host(&removed, "slots = 2\n");
    cluster.until_up(&removed, true);
    cluster.until("what it left is kept", |cluster| cluster.is_pinned("a", 1));
    cluster.meeting.open_all();
    cluster.completed();
    assert_eq!(cluster.attempts("a"), 2);
    cluster.check();
}

#[test]
fn a_host_that_does_not_hear_its_removal_ends_its_attempts_when_it_is_refused() {
    let mut cluster = Cluster::new(3, 1, NEVER);
    cluster.submit(&[("a", &[]), ("b", &[])]);
    let (cut_off, away) = (cluster.begun("a", 1), cluster.begun("b", 1));
    // One is behind a network that lets nothing of this session through any more, the other has no node.
    let network = &cluster.host(&cut_off).network;
    network.cut(Cut::Both);
    network.forget_connections();
    cluster.kill(&away);
    cluster.until_up(&away, false);
    for host in [&cut_off, &away] {
        cluster.says(&["host", "remove", host, "--force"]);
        assert!(!agents_below(&cluster.path(host)).is_empty(), "{host} goes on, since nobody told it");
    }
    // Their tasks go on with the one that is left.
    cluster.meeting.open("a.2");
    cluster.meeting.open("b.2");
    cluster.completed();
    for host in [&cut_off, &away] {
        assert!(!agents_below(&cluster.path(host)).is_empty(), "{host} still goes on");
    }
    cluster.host(&cut_off).network.heal();
    cluster.start(&away);
    cluster.ends_its_attempts(&cut_off);
    // It found what an earlier process had started, and nobody ever ordered that.
    cluster.ends_its_attempts(&away);
    for task in ["a", "b"] {
        assert_eq!((cluster.meeting.run(task, 1).unwrap().end, cluster.attempts(task)), (None, 2), "{task}");
    }
}
