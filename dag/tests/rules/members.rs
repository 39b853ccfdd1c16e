//! Members that claim too much, or never report the end of an attempt: they get only what they are allowed.

use devstack_dag::{
    Answer, Config, Engine,
    attempt::Outcome,
    command::{Command, HostReport},
    effect::{Effect, Timer},
    ids::{ProjectName, RoleName, Timestamp},
    pins::PinChange,
    plan::VerifyOn,
    record::{Pins, Status},
};

use crate::{
    common::*,
    desk::{Desk, HEAD},
};

fn report(name: &str, slots: u32) -> HostReport {
    HostReport::new(host_name(name), slots)
}

fn member(report: HostReport) -> Command {
    Command::ReportMember { report, joined: PinChange::default() }
}

/// A desk whose own host has no slots.
fn desk(tasks: &[&str]) -> Desk {
    let mut desk = Desk::new(plan(tasks.iter().map(|id| task(id, &[])).collect()), 0).0;
    desk.act(Command::SuspectHost(host_name("h")));
    desk
}

fn set(name: &str, change: PinChange) -> Command {
    Command::SetHost { host: host_name(name), change }
}

fn pins(desk: &Desk, name: &str) -> Pins {
    desk.engine.pins(&host_name(name)).unwrap().clone()
}

fn rebuilt(desk: &Desk) -> Engine {
    Engine::from_records(Config::default(), desk.engine.records()).unwrap()
}

#[test]
fn claims_whose_sum_is_a_round_number_stop_nothing() {
    let mut desk = desk(&[]);
    for name in ["a", "b", "c"] {
        desk.act(Command::ReportHost(report(name, 1 << 31)));
    }
    desk.act(Command::ReportHost(report("d", u32::MAX)));
    assert_eq!(desk.engine.free_slots(), 3 * (1 << 31) + u64::from(u32::MAX));
    assert_eq!(desk.engine.slots(), desk.engine.free_slots());
    let effects = desk.submit(plan(vec![task("t", &[])])).unwrap();
    assert_eq!(effects, ["start t/1 dev1@a"]);
}

#[test]
fn the_first_report_of_a_member_is_what_it_is_held_to() {
    let mut desk = desk(&[]);
    let labels = [("gpu".to_owned(), "a100".to_owned())].into();
    let first = HostReport { secrets: vec!["KEY".into()], labels, ..report("m", 2) };
    desk.act(member(report("m", 0)));
    assert!(desk.engine.pins(&host_name("m")).is_none(), "it offered nothing yet");
    desk.act(member(first.clone()));
    let expected = Pins { max_slots: 2, labels: first.labels.clone(), secrets: vec!["KEY".into()], ..Pins::default() };
    assert_eq!(pins(&desk, "m"), expected);

    let secrets = vec!["KEY".into(), "DEPLOY_KEY".into()];
    let labels = [("gpu".to_owned(), "h100".to_owned())].into();
    desk.act(member(HostReport { secrets, labels, ..report("m", u32::MAX) }));
    let host = host_name("m");
    assert_eq!((desk.engine.slots_on(&host), desk.engine.free_on(&host)), (2, 2));
    let cut = ["4294967293 slots of 4294967295", "label gpu = \"h100\"", "secret DEPLOY_KEY"];
    assert_eq!(desk.engine.cut(&host), cut);
    desk.engine = rebuilt(&desk);
    assert_eq!((pins(&desk, "m"), desk.engine.slots_on(&host)), (expected, 2), "after a restart, too");
}

#[test]
fn nobody_gets_many_slots_by_claiming_them() {
    let mut desk = desk(&[]);
    desk.act(member(report("m", u32::MAX)));
    assert_eq!(pins(&desk, "m").max_slots, Config::default().member_slots);
    desk.act(set("m", PinChange { max_slots: Some(5_000), ..PinChange::default() }));
    assert_eq!(desk.engine.slots_on(&host_name("m")), 5_000, "a person says so");
    desk.act(Command::ReportHost(report("own", 9_999)));
    assert_eq!(desk.engine.slots_on(&host_name("own")), 9_999, "the Taskmaster's own is not held to anything");
}

#[test]
fn what_people_said_at_the_join_counts_from_the_first_report_on() {
    let mut desk = desk(&["t"]);
    let joined = PinChange {
        projects: Some(vec![ProjectName::new("other").unwrap()]),
        max_slots: Some(1),
        ..PinChange::default()
    };
    let report = HostReport { roles: vec![RoleName::new("dev").unwrap()], ..report("m", 4) };
    assert_eq!(desk.act(Command::ReportMember { report: report.clone(), joined }), [""; 0], "not one task before");
    assert_eq!(pins(&desk, "m").max_slots, 1);
    let why = desk.engine.explain(&task_ref("t")).unwrap();
    assert!(why.contains("m claims that it can, but its pins forbid it (`devstack host show m`)"), "{why}");
    // Pins of a later token do not overrule pins that a user set since.
    let all = PinChange { projects: Some(vec![]), ..PinChange::default() };
    assert_eq!(desk.act(set("m", all)), ["start t/1 dev1@m"]);
    assert_eq!(desk.act(member(report)), ["start t/1 dev1@m"]);
    assert!(pins(&desk, "m").projects.is_empty());
}

#[test]
fn pins_keep_projects_roles_labels_and_secrets_from_a_host() {
    let role_name = |name: &str| RoleName::new(name).unwrap();
    let project = |name: &str| ProjectName::new(name).unwrap();
    let labels = |value: &str| Some([("gpu".to_owned(), value.to_owned())].into());
    let none = PinChange::default;
    let refused = [
        PinChange { roles: Some(vec![role_name("other")]), ..none() },
        PinChange { projects: Some(vec![project("other")]), ..none() },
        PinChange { labels: labels("t4"), ..none() },
        PinChange { secrets: Some(vec!["OTHER".into()]), ..none() },
        PinChange { max_slots: Some(0), ..none() },
    ];
    for change in refused {
        let mut desk = desk(&[]);
        let claimed = HostReport { secrets: vec!["KEY".into()], labels: labels("a100").unwrap(), ..report("m", 1) };
        desk.act(member(claimed.clone()));
        desk.act(set("m", change.clone()));
        assert_eq!((desk.act(set("m", change.clone())), desk.answer()), (vec![], Answer::Unchanged));
        let mut wanted = plan(vec![task("t", &[])]);
        wanted.project.roles[0].secrets = vec!["KEY".into()];
        wanted.project.roles[0].labels = labels("a100").unwrap();
        assert_eq!(desk.submit(wanted).unwrap(), [""; 0], "{change:?}");
        assert_eq!(desk.act(member(claimed.clone())), [""; 0], "{change:?}");
        desk.engine = rebuilt(&desk);
        assert_eq!(desk.act(member(claimed.clone())), [""; 0], "after a restart: {change:?}");
        let all = PinChange {
            max_slots: Some(1),
            labels: labels("a100"),
            roles: Some(vec![]),
            projects: Some(vec![]),
            secrets: Some(vec!["KEY".into()]),
        };
        assert_eq!(desk.act(set("m", all)), ["start t/1 dev1@m"], "{change:?}");
    }
}

#[test]
fn only_a_host_that_was_heard_can_be_held_to_something() {
    let mut desk = desk(&[]);
    let change = || PinChange { max_slots: Some(1), ..PinChange::default() };
    assert_eq!(desk.refused(set("nobody", change())), "DS0221");
    desk.act(Command::ReportHost(report("m", 2)));
    desk.engine = rebuilt(&desk);
    assert_eq!(desk.refused(set("m", change())), "DS0223");
    desk.act(Command::ReportHost(report("m", 2)));
    desk.act(set("m", change()));
    assert_eq!(desk.engine.slots_on(&host_name("m")), 1);
    let many = (0..500).map(|n| format!("{n:0>100}")).collect();
    assert_eq!(desk.refused(set("m", PinChange { secrets: Some(many), ..PinChange::default() })), "DS0224");
    // A host that is removed and joins again is a new one.
    desk.act(Command::RemoveHost { host: host_name("m"), force: true });
    assert!(
        !desk
            .engine
            .records()
            .any(|record| record.key() == devstack_dag::record::RecordKey::HostIntent(host_name("m")))
    );
}

/// The timers that the last step set, and those that a restart sets.
fn deadlines<'a>(effects: impl IntoIterator<Item = &'a Effect>) -> Vec<u64> {
    let of = |effect: &Effect| match effect {
        Effect::SetTimer { timer: Timer::Deadline(_), after_ms } => Some(*after_ms),
        _ => None,
    };
    effects.into_iter().filter_map(of).collect()
}

fn overdue(id: &str, number: u32) -> Command {
    Command::TimerFired(Timer::Deadline(attempt_id(id, number)))
}

/// A report of a host that holds these attempts.
fn holds(name: &str, attempts: &[(&str, u32)]) -> Command {
    let attempts = attempts.iter().map(|&(id, number)| attempt_id(id, number)).collect();
    member(HostReport { attempts, ..report(name, 1) })
}

#[test]
fn an_attempt_that_nobody_ends_is_lost_and_its_host_gets_no_other() {
    let mut desk = desk(&["t"]);
    desk.act(member(report("m", 1)));
    let full = 60_000 + 1_000 + Config::default().attempt_slack_ms;
    assert_eq!(deadlines(&desk.last.as_ref().unwrap().effects), [full]);
    assert_eq!(deadlines(&desk.engine.resume(Timestamp(99))), [full], "a restart gives it in full");

    assert_eq!(desk.act(overdue("t", 1)), ["salvage t/1@m"]);
    let task = desk.task("t");
    assert_eq!((task.status, task.charged, task.uncharged), (Status::Todo, 0, 20));
    let owed: Vec<_> = desk.engine.owed(&host_name("m")).cloned().collect();
    assert_eq!((owed, desk.engine.free_on(&host_name("m"))), (vec![attempt_id("t", 1)], 0));
    let why = desk.engine.explain(&task_ref("t")).unwrap();
    assert!(why.contains("m gets no attempts until it reports how p/t/1 ended"), "{why}");
    // The host is present and reports that it still has the attempt.
    assert_eq!(desk.act(holds("m", &[("t", 1)])), ["salvage t/1@m"]);
    assert_eq!(desk.engine.free_on(&host_name("m")), 0);
    // Another host does the task.
    assert_eq!(desk.act(member(report("other", 1))), ["start t/2 dev1@other"]);
    desk.passes("t");
    assert_eq!(desk.status("t"), Status::Completed);
}

#[test]
fn a_host_that_says_how_it_ended_or_has_it_no_more_or_is_forgiven_works_again() {
    let late = || {
        let mut desk = desk(&["t"]);
        desk.act(member(report("m", 1)));
        desk.act(overdue("t", 1));
        desk
    };
    let mut desk = late();
    assert_eq!(desk.attempt_ends("t", 1, Outcome::Exited(0), None), ["forget t/1", "start t/2 dev1@m"]);
    assert_eq!((desk.answer(), desk.task("t").charged), (Answer::Fenced, 0));
    assert_eq!(late().act(holds("m", &[])), ["start t/2 dev1@m"]);
    let mut desk = late();
    assert_eq!(desk.act(Command::UndrainHost(host_name("m"))), ["start t/2 dev1@m"]);
    assert_eq!(desk.answer(), Answer::Done);
    desk.act(Command::UndrainHost(host_name("m")));
    assert_eq!(desk.answer(), Answer::Unchanged);
}

#[test]
fn a_deadline_ends_nothing_that_is_over_or_whose_host_is_silent() {
    let mut desk = desk(&["t"]);
    desk.act(member(report("m", 1)));
    desk.act(Command::SuspectHost(host_name("m")));
    desk.act(overdue("t", 1));
    let again = deadlines(&desk.last.as_ref().unwrap().effects);
    assert_eq!((again, desk.status("t")), (vec![Config::default().attempt_slack_ms], Status::Wip), "its lease decides");
    assert_eq!(desk.act(holds("m", &[("t", 1)])), ["start t/1 dev1@m"], "it keeps it");
    desk.passes("t");
    desk.act(overdue("t", 1));
    assert_eq!((desk.answer(), desk.status("t")), (Answer::Unchanged, Status::Completed));
    assert_eq!(desk.engine.owed(&host_name("m")).count(), 0);
}

/// A task whose work was done on `a`, where `a` has more free slots than `b`; the host of its checks.
fn checks_run_on(verify_on: VerifyOn, b: HostReport) -> String {
    let mut plan = repo_plan(vec![task("t", &[])]);
    plan.project.checks = vec!["make test".into()];
    plan.project.verify_on = verify_on;
    let mut desk = Desk::new(plan, 0).0;
    desk.act(Command::ReportHost(report("a", 9)));
    desk.act(Command::ReportHost(b));
    assert_eq!(desk.engine.running(&task_ref("t")).unwrap().host, host_name("a"));
    desk.done("t", 5);
    let effects = desk.prepared("t", 1, HEAD, 6);
    effects.into_iter().find_map(|effect| effect.strip_prefix("check ").map(str::to_owned)).unwrap()
}

#[test]
fn another_host_checks_where_there_is_one() {
    let busy = || HostReport {
        quarantine: Some(devstack_dag::command::Quarantine { slots: 1, why: String::new() }),
        ..report("b", 1)
    };
    let other_role = || HostReport { roles: vec![RoleName::new("other").unwrap()], ..report("b", 1) };
    assert_eq!(checks_run_on(VerifyOn::OtherHost, report("b", 1)), "t/2 dev1@b");
    assert_eq!(checks_run_on(VerifyOn::Any, report("b", 1)), "t/2 dev1@a");
    // The preference is never a reason to wait.
    assert_eq!(checks_run_on(VerifyOn::OtherHost, busy()), "t/2 dev1@a");
    assert_eq!(checks_run_on(VerifyOn::OtherHost, other_role()), "t/2 dev1@a");
}

#[test]
fn a_host_brings_and_reads_what_is_its_own() {
    let mut desk = desk(&["t"]);
    desk.act(member(report("m", 1)));
    let (m, other, attempt) = (host_name("m"), host_name("other"), attempt_id("t", 1));
    let may = |desk: &Desk| {
        let engine = &desk.engine;
        assert!(!engine.may_bring(&other, &attempt) && !engine.may_shelve(&other, &attempt));
        (engine.may_bring(&m, &attempt), engine.may_shelve(&m, &attempt))
    };
    assert_eq!(may(&desk), (true, false));
    desk.act(overdue("t", 1));
    assert_eq!(may(&desk), (true, true), "its work is saved");
    desk.act(holds("m", &[]));
    desk.attempt_ends("t", 2, Outcome::Exited(1), None);
    assert!(!desk.engine.may_bring(&m, &attempt_id("t", 2)) && desk.engine.may_shelve(&m, &attempt_id("t", 2)));
    assert!(!desk.engine.may_bring(&m, &attempt_id("t", 3)));
}
