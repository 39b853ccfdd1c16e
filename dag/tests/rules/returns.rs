//! How much returns count that the failure of a host or its engine caused, and what a first stall does.

use devstack_dag::{
    attempt::Outcome,
    command::{Command, HostReport, Quarantine},
    record::Status,
};

use crate::{
    common::{host_name, plan, repo_plan, role, task, task_ref},
    desk::Desk,
};

/// Units of the cap for a return that the task may have caused; five of these reach the cap.
const ALONE: u32 = 20;

fn desk(tasks: &[&str], slots: u32) -> Desk {
    let mut plan = plan(tasks.iter().map(|id| task(id, &[])).collect());
    plan.project.roles = vec![role("dev", 9)];
    Desk::new(plan, slots).0
}

fn quarantined(slots: u32) -> Command {
    let quarantine = (slots > 0).then(|| Quarantine { slots, why: "the engine is gone".into() });
    Command::ReportHost(HostReport { quarantine, ..HostReport::new(host_name("h"), 2) })
}

fn lost(desk: &mut Desk, host: &str) {
    desk.act(Command::SuspectHost(host_name(host)));
    desk.act(Command::LoseHost { host: host_name(host), silent_ms: u64::MAX });
}

fn gone() -> Outcome {
    Outcome::Infrastructure("its supervisor is gone".into())
}

#[test]
fn what_a_host_takes_with_it_in_company_counts_little_and_is_bounded_all_the_same() {
    let mut desk = desk(&["a", "b"], 2);
    for n in 1..100 {
        lost(&mut desk, "h");
        assert_eq!((desk.task("a").uncharged, desk.status("b")), (n, Status::Todo));
        assert_eq!(desk.host("h", 2, &[]).len(), 2, "both start again");
    }
    lost(&mut desk, "h");
    assert_eq!([desk.blocked("a"), desk.blocked("b")], ["needs-human"; 2]);
    let why = desk.task("a").blocked.unwrap().1;
    assert!(why.contains("too many attempts in a row ended") && why.contains("host h was lost"), "{why}");
}

#[test]
fn a_task_that_is_alone_in_each_of_its_losses_waits_for_a_person() {
    let mut desk = desk(&["a"], 2);
    for n in 1..5 {
        lost(&mut desk, "h");
        assert_eq!(desk.task("a").uncharged, n * ALONE);
        desk.host("h", 2, &[]);
    }
    lost(&mut desk, "h");
    assert_eq!(desk.blocked("a"), "needs-human");
    // A user may judge otherwise.
    desk.host("h", 2, &[]);
    desk.act(Command::RetryTask { task: task_ref("a"), message: None });
    assert_eq!((desk.status("a"), desk.task("a").uncharged), (Status::Wip, 0));
}

#[test]
fn an_engine_that_ends_takes_all_its_attempts_whoever_reports_first() {
    let mut desk = desk(&["a", "b"], 2);
    desk.act(quarantined(2));
    desk.ends("a", gone(), None);
    assert_eq!(desk.task("a").uncharged, 1, "nobody needs to wait for the report of the other");
    desk.act(quarantined(0));
    desk.now += 59_000;
    desk.ends("b", gone(), None);
    assert_eq!(desk.task("b").uncharged, 1);
    // Attempts that start afterwards, and reports that come long afterwards, are unrelated to the failure.
    desk.backoff_over("a");
    desk.ends("a", gone(), None);
    assert_eq!(desk.task("a").uncharged, 1 + ALONE);
    // Some unusable slots are not a failure of the host.
    desk.backoff_over("a");
    desk.backoff_over("b");
    desk.act(quarantined(1));
    desk.ends("b", gone(), None);
    assert_eq!(desk.task("b").uncharged, 1 + ALONE);
}

#[test]
fn a_report_long_after_the_host_returned_is_of_the_task_itself() {
    let mut desk = desk(&["a", "b"], 2);
    desk.act(Command::SuspectHost(host_name("h")));
    desk.host("h", 2, &[]);
    desk.now += 60_001;
    desk.ends("a", gone(), None);
    assert_eq!(desk.task("a").uncharged, ALONE);
    // Neither is a return with another cause than the host's failure.
    desk.act(Command::SuspectHost(host_name("h")));
    desk.host("h", 2, &[]);
    desk.ends("b", Outcome::Exited(75), None);
    assert_eq!(desk.task("b").uncharged, ALONE);
}

#[test]
fn hosts_that_end_without_a_task_speak_for_it_for_a_while() {
    let mut desk = desk(&["a"], 1);
    desk.host("k", 0, &[]);
    desk.act(Command::SuspectHost(host_name("k")));
    desk.now += 290_000;
    lost(&mut desk, "h");
    assert_eq!(desk.task("a").uncharged, 1);
    desk.host("h", 1, &[]);
    desk.now += 20_000;
    lost(&mut desk, "h");
    assert_eq!(desk.task("a").uncharged, 1 + ALONE);
}

#[test]
fn hosts_that_ended_with_a_task_do_not_speak_for_it() {
    let mut desk = desk(&["a"], 1);
    lost(&mut desk, "h");
    assert_eq!(desk.task("a").uncharged, ALONE);
    desk.host("k", 1, &[]);
    lost(&mut desk, "k");
    assert_eq!(desk.task("a").uncharged, 2 * ALONE, "it may be what ends hosts");
}

#[test]
fn a_first_stall_is_uncharged_once_for_each_budget() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    assert_eq!(desk.ends("a", Outcome::Stalled, None), ["forget a/1", "backoff a/1 1000"]);
    assert_eq!((desk.task("a").charged, desk.task("a").stalls, desk.status("a")), (0, 1, Status::Todo));
    for n in 1..=3 {
        desk.backoff_over("a");
        desk.ends("a", Outcome::Stalled, None);
        assert_eq!((desk.task("a").charged, desk.task("a").stalls), (n, 1));
    }
    assert_eq!(desk.blocked("a"), "attempts-exhausted");
    desk.act(Command::RetryTask { task: task_ref("a"), message: None });
    assert_eq!((desk.task("a").charged, desk.task("a").stalls), (0, 0));
    desk.ends("a", Outcome::Stalled, None);
    assert_eq!(desk.task("a").charged, 0);
}

#[test]
fn one_that_was_asked_to_end_did_not_stall() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    desk.act(Command::StopTask(task_ref("a")));
    desk.ends("a", Outcome::Stalled, None);
    assert_eq!((desk.task("a").charged, desk.task("a").stalls), (0, 0));
}
