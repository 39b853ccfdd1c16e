//! People empty a host, use it again, and take it out of the cluster.
//! Deliberately absent: the rules of draining (crate dag), and refusals of the API (tests/api).

use crate::cluster::{Cluster, NEVER};

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
