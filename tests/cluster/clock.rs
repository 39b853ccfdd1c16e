//! Wall clocks are stepped by an hour, both ways, the Taskmaster's and a host's, while attempts run: every host stays
//! present, nothing is replaced or runs twice, and results still travel, over certificates that have a time, too.
//! Deliberately absent: backoffs and timeouts (tests/actors), which are counted where they are on one machine.

use std::{fs, io::Write, path::Path, process::Command};

use crate::cluster::{Cluster, NEVER};

const HOUR: i64 = 3600;

/// How far a node's wall clock is off, from the next moment on. Never cut: the node has the file mapped.
fn step(cluster: &Cluster, node: &str, seconds: i64) {
    let file =
        fs::File::options().write(true).create(true).truncate(false).open(cluster.path(&format!("{node}.clock")));
    file.unwrap().write_all(&seconds.to_ne_bytes()).unwrap();
}

/// The library that steps clocks; `None`: it cannot be made here.
fn preload(cluster: &Cluster) -> Option<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/clock.c");
    let made =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(cluster.path("clock.so")).arg(source).status();
    made.is_ok_and(|status| status.success()).then_some(())
}

#[test]
fn stepped_wall_clocks_lose_no_host_and_no_attempt() {
    let mut cluster = Cluster::found(NEVER);
    if preload(&cluster).is_none() {
        println!("SKIPPED: stepped clocks of several hosts: no C compiler");
        return;
    }
    for node in ["taskmaster", "h1", "h2"] {
        step(&cluster, node, 0);
    }
    // From here on every node has a clock that can be stepped.
    cluster.taskmaster = None;
    cluster.start_taskmaster();
    for host in ["h1", "h2"] {
        cluster.add_host(host, "slots = 2\n");
        cluster.until_up(host, true);
    }
    let mut tasks: Vec<(&str, &[&str])> = vec![("a", &[]), ("b", &[])];
    cluster.submit(&tasks);
    let on = ["a", "b"].map(|task| cluster.begun(task, 1));
    let begun = started(&cluster, "a");
    let steps = [
        ("later", "taskmaster", HOUR),
        ("host-later", on[0].as_str(), HOUR),
        ("earlier", "taskmaster", -HOUR),
        ("host-earlier", on[0].as_str(), -HOUR),
        ("apart", "taskmaster", HOUR),
        ("even", "taskmaster", 0),
    ];
    for (task, node, seconds) in steps {
        step(&cluster, node, seconds);
        // Orders, results and heartbeats go on, in both directions.
        cluster.meeting.open(task);
        tasks.push((task, &[]));
        cluster.submit(&tasks);
        cluster.until(&format!("{task} is done"), |cluster| {
            cluster.ask(&["task", "show", task])["task"]["status"] == "COMPLETED"
        });
    }
    let late = started(&cluster, "later");
    assert!(late - begun > HOUR - 120 && late - begun < HOUR + 600, "the clock was stepped: {begun}, then {late}");
    assert!(started(&cluster, "even") >= late, "no time that people see runs backwards");
    let log = cluster.log("taskmaster");
    for silent in ["a host is silent", "the host is gone", "every host gets a full lease"] {
        assert!(!log.contains(silent), "{silent}");
    }
    cluster.meeting.open_all();
    cluster.completed();
    for (task, _) in tasks {
        assert_eq!(cluster.attempts(task), 1, "{task}");
    }
    cluster.check();
}

/// When the first attempt of a task was ordered, by the Taskmaster's clock, in seconds.
fn started(cluster: &Cluster, task: &str) -> i64 {
    let shown = cluster.ask(&["task", "show", task])["task"]["attempt_list"][0]["started_at"].clone();
    let seconds = cluster.says_shell(&format!("date -u -d {shown} +%s"));
    seconds.trim().parse().unwrap()
}
