//! Hosts that report, return and are lost; restarts.

use devstack_dag::{
    Answer, Config, Engine,
    attempt::{Outcome, Report},
    command::{Command, HostReport, Quarantine},
    effect::{Effect, Timer},
    ids::{RoleName, Timestamp},
    presence::Presence,
    record::Status,
};

use crate::{
    common::{attempt_id, commit, host_name, plan, repo_plan, role, task, task_ref},
    desk::Desk,
};

fn holding(attempts: &[(&str, u32)]) -> Command {
    let attempts = attempts.iter().map(|&(id, number)| attempt_id(id, number)).collect();
    Command::ReportHost(HostReport { attempts, ..HostReport::new(host_name("h"), 2) })
}

/// Silence longer than any wait.
fn gone(host: &str) -> Command {
    Command::LoseHost { host: host_name(host), silent_ms: u64::MAX }
}

#[test]
fn a_host_gets_every_valid_order_again_and_drops_what_is_fenced() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &[])]), 2);
    let both = ["start a/1 dev1@h", "start b/1 dev2@h"];
    assert_eq!(desk.act(holding(&[("a", 1), ("b", 1)])), both);
    assert_eq!(
        desk.act(holding(&[("b", 1), ("a", 7), ("gone", 1)])),
        ["stop a/7", "forget a/7", "stop gone/1", "forget gone/1", both[0], both[1]]
    );
}

#[test]
fn a_lost_host_returns_its_attempts_uncharged_and_is_fenced_when_it_comes_back() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 2);
    assert_eq!(desk.act(gone("h")), [""; 0]);
    assert_eq!(desk.act(gone("h")), [""; 0]);
    assert_eq!(desk.answer(), Answer::Unchanged);
    assert_eq!((desk.status("a"), desk.task("a").charged), (Status::Todo, 0));
    assert_eq!(desk.act(holding(&[("a", 1)])), ["salvage a/1@h", "start a/2 dev1@h"]);
    desk.act(gone("other"));
}

#[test]
fn what_a_fenced_attempt_left_is_given_in_before_it_is_forgotten() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    desk.act(gone("h"));
    // Salvaged whenever it is reported: nobody knows whether the order arrived, or the report.
    assert_eq!(desk.act(holding(&[("a", 1)])), ["salvage a/1@h", "start a/2 dev1@h"]);
    assert_eq!(desk.act(holding(&[("a", 1)])), ["salvage a/1@h", "start a/2 dev1@h"]);
    assert_eq!(desk.attempt_ends("a", 1, Outcome::Stopped, Some(commit(5))), ["forget a/1"]);
    assert_eq!((desk.answer(), desk.task("a").harvested), (Answer::Fenced, None));
}

#[test]
fn a_host_has_no_say_about_the_attempts_of_another() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    let other = host_name("other");
    let report = Report::new(attempt_id("a", 1), Outcome::Exited(0));
    assert_eq!(desk.act(Command::FinishAttempt { host: other.clone(), report }), [""; 0]);
    assert_eq!((desk.answer(), desk.status("a")), (Answer::Fenced, Status::Wip));
    let attempts = vec![attempt_id("a", 1)];
    let claim = Command::ReportHost(HostReport { attempts, ..HostReport::new(other, 0) });
    assert_eq!(desk.act(claim), ["stop a/1", "forget a/1"]);
    assert_eq!(desk.engine.running(&task_ref("a")).unwrap().host, host_name("h"));
}

#[test]
fn work_goes_to_the_least_loaded_host_that_knows_the_secrets() {
    let mut secret = plan(["a", "b", "c"].map(|id| task(id, &[])).to_vec());
    secret.project.roles = vec![role("dev", 9)];
    secret.project.roles[0].secrets = vec!["KEY".into()];
    let (mut desk, effects) = Desk::new(secret, 4);
    assert_eq!(effects, [""; 0]);
    assert!(desk.engine.settled(&[task_ref("a")]), "no host can ever run it");
    assert!(desk.engine.explain(&task_ref("a")).unwrap().contains("KEY"));
    assert_eq!(desk.host("k", 4, &["KEY"]), ["start a/1 dev1@k", "start b/1 dev2@k", "start c/1 dev3@k"]);
}

#[test]
fn resume_gives_everything_again_with_timers_in_full() {
    let (mut desk, _) = Desk::new(repo_plan(["a", "b", "c"].map(|id| task(id, &[])).to_vec()), 2);
    desk.done("a", 5);
    desk.fails("b");
    let words = |engine: &Engine| -> Vec<String> {
        engine.resume(Timestamp(99)).iter().map(|e| format!("{e:?}").split([' ', '(']).next().unwrap().into()).collect()
    };
    let rebuilt = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    let expected = ["PrepareMerge", "SetTimer", "StartAttempt", "SetTimer", "Deliver"];
    assert_eq!(
        (words(&desk.engine), words(&rebuilt)),
        (expected.map(String::from).into(), expected.map(String::from).into())
    );
    desk.engine = rebuilt;
    assert_eq!(desk.prepared("a", 1, 1, 6), ["publish 1 1->6"]);
    desk.engine = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    assert_eq!(words(&desk.engine)[0..2], ["SetTimer", "StartAttempt"]);
    assert!(words(&desk.engine).contains(&"PublishMerge".into()));
    desk.landed(1, 6);
    assert_eq!(desk.status("a"), Status::Completed);
}

#[test]
fn a_store_that_does_not_fit_together_is_refused() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), task("b", &["a"])]), 2);
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    desk.landed(1, 6);
    let records: Vec<_> = desk.engine.records().collect();
    for missing in 0..records.len() {
        let rest = records.iter().enumerate().filter(|&(n, _)| n != missing).map(|(_, r)| r.clone());
        let rebuilt = Engine::from_records(Config::default(), rest);
        assert!(rebuilt.is_err(), "nobody missed {:?}", records[missing].key());
    }
}

#[test]
fn a_quarantined_slot_takes_nothing_until_it_is_well() {
    let mut desk = Desk::new(plan(vec![task("a", &[]), task("b", &[])]), 0).0;
    let sick = |slots| {
        let quarantine = (slots > 0).then(|| Quarantine { slots, why: "the engine is gone".into() });
        Command::ReportHost(HostReport { quarantine, ..HostReport::new(host_name("h"), 2) })
    };
    assert_eq!(desk.act(sick(2)), [""; 0]);
    assert!(desk.engine.explain(&task_ref("a")).unwrap().contains("the engine is gone"));
    assert!(!desk.engine.settled(&[task_ref("a")]), "it recovers without a person");
    assert_eq!(desk.act(sick(1)), ["start a/1 dev1@h"]);
    assert_eq!(desk.act(sick(0)), ["start a/1 dev1@h", "start b/1 dev2@h"]);
}

#[test]
fn a_silent_host_keeps_its_work_and_gets_no_more() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &["a"])]), 2);
    assert_eq!(desk.act(Command::SuspectHost(host_name("h"))), [""; 0]);
    assert!(desk.engine.is_unknown(desk.engine.running(&task_ref("a")).unwrap()));
    assert!(desk.engine.explain(&task_ref("a")).unwrap().contains("host h has been silent since"));
    assert_eq!((desk.engine.free_slots(), desk.engine.slots()), (0, 2));
    // Its report counts, but only the host itself can show that it is present.
    assert_eq!(desk.passes("a"), ["forget a/1"]);
    assert_eq!(desk.status("b"), Status::Todo);
    assert_eq!(desk.act(holding(&[])), ["start b/1 dev1@h"]);
    assert!(!desk.engine.is_unknown(desk.engine.running(&task_ref("b")).unwrap()));
}

#[test]
fn work_of_a_lost_host_starts_elsewhere_in_the_same_step() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    desk.host("k", 1, &[]);
    desk.act(Command::SuspectHost(host_name("h")));
    assert_eq!(desk.act(gone("h")), ["start a/2 dev1@k"]);
    assert_eq!(desk.task("a").charged, 0);
    // It stays known, so that a restart waits for it again.
    assert_eq!(desk.engine.hosts().count(), 2);
    assert_eq!(desk.act(holding(&[("a", 1)])), ["salvage a/1@h"]);
}

#[test]
fn after_a_restart_nobody_is_present_who_did_not_report() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &["a"])]), 1);
    desk.engine = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    assert_eq!(desk.engine.presence(&host_name("h")), Some(Presence::Awaited));
    assert!(desk.engine.is_unknown(desk.engine.running(&task_ref("a")).unwrap()));
    assert_eq!(desk.passes("a"), ["forget a/1"]);
    assert_eq!(desk.act(holding(&[])), ["start b/1 dev1@h"]);
}

#[test]
fn a_drained_host_finishes_what_runs_or_stops_it_at_its_deadline() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &["a"])]), 1);
    let drain = |deadline_ms| Command::DrainHost { host: host_name("h"), deadline_ms };
    assert_eq!(desk.act(drain(None)), [""; 0]);
    assert_eq!(desk.act(drain(Some(600_000))), ["drain h 600000"]);
    let since = desk.engine.drain(&host_name("h")).unwrap().since;
    desk.act(drain(Some(600_000)));
    assert_eq!(desk.answer(), Answer::Unchanged);
    // A restart keeps the drain, and gives the deadline in full again.
    desk.engine = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    let again = Effect::SetTimer { timer: Timer::Drain { host: host_name("h"), since }, after_ms: 600_000 };
    assert!(desk.engine.resume(Timestamp(99)).contains(&again));
    desk.act(holding(&[("a", 1)]));
    let due = |since| Command::TimerFired(Timer::Drain { host: host_name("h"), since });
    assert_eq!(desk.act(due(Timestamp(since.0 - 1))), [""; 0], "the timer of an earlier drain");
    assert_eq!(desk.act(due(since)), ["stop a/1"]);
    assert_eq!(desk.ends("a", Outcome::Stopped, None), ["forget a/1", "backoff a/1 1000"]);
    assert_eq!((desk.backoff_over("a"), desk.task("a").charged), (vec![], 0));
    assert!(desk.engine.settled(&[task_ref("a")]), "nothing runs until a person does something about the host");
    assert_eq!(desk.act(Command::UndrainHost(host_name("h"))), ["start a/2 dev1@h"]);
    assert_eq!(desk.refused(Command::UndrainHost(host_name("other"))), "DS0221");
}

#[test]
fn a_host_is_removed_when_it_is_gone_or_empty_or_by_force() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    let remove = |force| Command::RemoveHost { host: host_name("h"), force };
    assert_eq!(desk.refused(remove(false)), "DS0222");
    desk.act(Command::DrainHost { host: host_name("h"), deadline_ms: None });
    assert_eq!(desk.refused(remove(false)), "DS0222");
    assert_eq!(desk.act(remove(true)), ["salvage a/1@h"]);
    assert_eq!((desk.status("a"), desk.engine.hosts().count()), (Status::Todo, 0));
    assert_eq!(desk.refused(remove(false)), "DS0221");
    assert_eq!(desk.attempt_ends("a", 1, Outcome::Stopped, None), ["forget a/1"]);
    // It is a new host: nothing is wanted of it.
    assert_eq!(desk.host("h", 1, &[]), ["start a/2 dev1@h"]);
    desk.act(Command::SuspectHost(host_name("h")));
    assert_eq!(desk.act(remove(false)), ["salvage a/2@h"]);
}

#[test]
fn agents_keep_their_names_over_hosts_and_restarts() {
    let mut plan = plan(["a", "b", "c"].map(|id| task(id, &[])).to_vec());
    plan.project.roles = vec![role("dev", 3)];
    let (mut desk, effects) = Desk::new(plan, 1);
    assert_eq!(effects, ["start a/1 dev1@h"]);
    assert_eq!(desk.host("k", 1, &[]), ["start b/1 dev2@k"]);
    desk.engine = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    assert_eq!(desk.host("h", 1, &[]), ["start a/1 dev1@h"]);
    assert_eq!(desk.host("k", 2, &[]), ["start b/1 dev2@k", "start c/1 dev3@k"]);
}

#[test]
fn work_goes_where_its_role_and_labels_are_and_explain_names_what_no_host_has() {
    let mut labelled = plan(["a", "b"].map(|id| task(id, &[])).to_vec());
    labelled.project.roles = vec![role("dev", 9)];
    labelled.project.roles[0].labels = [("gpu".to_owned(), "a100".to_owned())].into();
    let (mut desk, effects) = Desk::new(labelled, 4);
    assert_eq!(effects, [""; 0]);
    let report = |host: &str, gpu: &str, roles: &[&str]| {
        let mut report = HostReport::new(host_name(host), 1);
        report.labels.insert("gpu".into(), gpu.into());
        report.roles = roles.iter().map(|role| RoleName::new(role).unwrap()).collect();
        Command::ReportHost(report)
    };
    assert_eq!(desk.act(report("t", "t4", &[])), [""; 0]);
    let why = |desk: &Desk| desk.engine.explain(&task_ref("a")).unwrap();
    assert!(why(&desk).contains("no available host has the label gpu = \"a100\""), "{}", why(&desk));
    assert!(desk.engine.settled(&[task_ref("a")]), "no host can ever run it");
    assert_eq!(desk.act(report("s", "a100", &["senior"])), [""; 0]);
    assert!(why(&desk).contains("all of this: role dev, label gpu"), "{}", why(&desk));
    // The last report of a host's offer counts, and takes effect at once.
    assert_eq!(desk.act(report("s", "a100", &["senior", "dev"])), ["start a/1 dev1@s"]);
    assert_eq!(desk.engine.offer(&host_name("s")).unwrap().labels["gpu"], "a100");
    // After a restart no host has an offer until it reports; hosts that might fit are waited for.
    desk.engine = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    assert!(desk.engine.offer(&host_name("s")).is_none() && !desk.engine.settled(&[task_ref("b")]));
    assert_eq!(desk.act(report("t", "a100", &[])), ["start b/1 dev2@t"]);
}

#[test]
fn work_goes_to_a_host_that_has_the_image_before_one_that_must_fetch_it() {
    let mut with_image = plan(["a", "b"].map(|id| task(id, &[])).to_vec());
    with_image.project.roles = vec![role("dev", 9)];
    with_image.project.roles[0].image = Some("agent@sha256:07".into());
    let (mut desk, _) = Desk::new(with_image, 0);
    desk.act(Command::PauseProject(task_ref("a").project));
    desk.host("idle", 9, &[]);
    let images = vec!["sha256:07".to_owned()];
    desk.act(Command::ReportHost(HostReport { images, ..HostReport::new(host_name("z"), 1) }));
    assert_eq!(desk.act(Command::ResumeProject(task_ref("a").project)), ["start a/1 dev1@z", "start b/1 dev2@idle"]);
}
