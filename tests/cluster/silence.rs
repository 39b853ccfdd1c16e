//! Attempts of one host that is cut off, each waited for as long as its role or its task's timeout says.
//! Deliberately absent: which time is whose (`dag` rules).

use crate::{
    cluster::{Cluster, SOON},
    history::agents_below,
    proxy::Cut,
};

/// Everything waits for `max_disconnect` of the Taskmaster but what says otherwise: `patient`, by its role.
fn plan(cluster: &Cluster) -> String {
    let plan = cluster.meeting.plan(&[("hasty", &[]), ("patient", &[])]);
    let role = plan.split("[agents.dev]").nth(1).unwrap().split("[[task]]").next().unwrap();
    let (before, patient) = plan.rsplit_once("[[task]]").unwrap();
    let before = before.replace("[[task]]\n", "[[task]]\nrole = \"dev\"\n");
    format!("{before}[[task]]\nrole = \"patient\"{patient}[agents.patient]{role}max_disconnect = \"10m\"\n")
}

#[test]
fn the_patient_keeps_its_attempt_where_the_hasty_is_replaced() {
    let mut cluster = Cluster::found(SOON);
    cluster.add_host("h1", "slots = 2\non_disconnect = \"stop\"\n");
    cluster.until_up("h1", true);
    cluster.submit_text(&plan(&cluster));
    assert_eq!((cluster.begun("hasty", 1), cluster.begun("patient", 1)), ("h1".into(), "h1".into()));
    cluster.add_host("h2", "slots = 2\n");
    cluster.until_up("h2", true);
    cluster.host("h1").network.cut(Cut::Both);
    assert_eq!(cluster.begun("hasty", 2), "h2");
    // The host itself stops what is replaced, and nothing else.
    cluster.until("the hasty one is stopped on its host", is_stopped);
    assert!(!agents_below(&cluster.path("h1")).is_empty());
    let patient = cluster.ask(&["task", "show", "patient"])["task"].clone();
    assert_eq!((&patient["attempts"], &patient["status"]), (&1.into(), &"WIP".into()), "{patient}");
    cluster.host("h1").network.heal();
    cluster.until_up("h1", true);
    cluster.meeting.open_all();
    cluster.completed();
    assert_eq!((cluster.attempts("hasty"), cluster.attempts("patient")), (2, 1));
    cluster.check();
}

/// The node says of each attempt that it is stopped.
fn is_stopped(cluster: &Cluster) -> bool {
    let log = cluster.log("h1");
    let stopped = |task: &str| log.lines().any(|line| line.contains("stopping the attempt") && line.contains(task));
    assert!(!stopped("patient"), "{log}");
    stopped("hasty")
}
