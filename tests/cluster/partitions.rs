//! The network between a host and its Taskmaster is cut, both ways or one way, for a while or for too long.
//! Deliberately absent: slow networks (`bulk`).

use crate::{
    cluster::{Cluster, NEVER, SOON},
    history::agents_below,
    proxy::Cut,
};

const CUTS: [(&str, Cut); 3] = [("both", Cut::Both), ("up", Cut::Up), ("down", Cut::Down)];

#[test]
fn a_short_partition_costs_nothing() {
    let mut cluster = Cluster::new(2, 2, NEVER);
    cluster.submit(&[("both", &[]), ("up", &["both"]), ("down", &["up"])]);
    for (task, cut) in CUTS {
        let host = cluster.begun(task, 1);
        cluster.host(&host).network.cut(cut);
        cluster.until_up(&host, false);
        // What ends meanwhile is delivered afterwards.
        cluster.meeting.open(task);
        cluster.ended(task, 1);
        cluster.host(&host).network.heal();
        cluster.until_up(&host, true);
    }
    cluster.completed();
    for (task, _) in CUTS {
        assert_eq!(cluster.attempts(task), 1, "{task}");
    }
    cluster.check();
}

#[test]
fn a_long_partition_replaces_what_runs_behind_it() {
    let mut cluster = Cluster::new(2, 2, SOON);
    cluster.submit(&[("both", &[]), ("up", &["both"]), ("down", &["up"])]);
    for (task, cut) in CUTS {
        let host = cluster.begun(task, 1);
        cluster.host(&host).network.cut(cut);
        assert_ne!(cluster.begun(task, 2), host, "{task}");
        // Both run now. The fenced one is done first.
        cluster.meeting.open(&format!("{task}.1"));
        cluster.ended(task, 1);
        cluster.host(&host).network.heal();
        cluster.until_up(&host, true);
        cluster.until("what it left is kept", |cluster| cluster.is_pinned(task, 1));
        cluster.meeting.open(task);
    }
    cluster.completed();
    for (task, _) in CUTS {
        assert_eq!(cluster.attempts(task), 2, "{task}");
    }
    cluster.check();
}

#[test]
fn a_host_may_stop_its_attempts_when_it_is_cut_off() {
    let mut cluster = Cluster::found(SOON);
    for host in ["h1", "h2"] {
        cluster.add_host(host, "slots = 1\non_disconnect = \"stop\"\n");
        cluster.until_up(host, true);
    }
    cluster.submit(&[("a", &[])]);
    let host = cluster.begun("a", 1);
    cluster.host(&host).network.cut(Cut::Both);
    assert_ne!(cluster.begun("a", 2), host);
    // It is told by nobody.
    cluster.until("its agent is ended", |cluster| agents_below(&cluster.path(&host)).is_empty());
    cluster.host(&host).network.heal();
    cluster.until("what it left is kept", |cluster| cluster.is_pinned("a", 1));
    cluster.meeting.open_all();
    cluster.completed();
    assert_eq!(cluster.attempts("a"), 2);
    cluster.check();
}
