//! Hosts that report, return and are lost; restarts.

use devstack_dag::{
    Answer, Config, Engine,
    attempt::{Outcome, Report},
    command::{Command, HostReport, Quarantine},
    ids::{Text, Timestamp},
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
    assert_eq!(desk.act(Command::LoseHost(host_name("h"))), ["backoff a/1 1000"]);
    assert_eq!((desk.status("a"), desk.task("a").charged), (Status::Todo, 0));
    assert_eq!(desk.act(holding(&[("a", 1)])), ["salvage a/1@h"]);
    assert_eq!(desk.backoff_over("a"), ["start a/2 dev1@h"]);
    desk.act(Command::LoseHost(host_name("other")));
}

#[test]
fn what_a_fenced_attempt_left_is_given_in_before_it_is_forgotten() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[])]), 1);
    desk.act(Command::LoseHost(host_name("h")));
    // Salvaged as often as it is seen: nobody knows whether the order came, or the report.
    assert_eq!(desk.act(holding(&[("a", 1)])), ["salvage a/1@h"]);
    assert_eq!(desk.act(holding(&[("a", 1)])), ["salvage a/1@h"]);
    assert_eq!(desk.attempt_ends("a", 1, Outcome::Stopped, Some(commit(5))), ["forget a/1"]);
    assert_eq!((desk.answer(), desk.task("a").harvested), (Answer::Fenced, None));
}

#[test]
fn a_host_has_no_say_about_the_attempts_of_another() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    let other = host_name("other");
    let report = Report {
        attempt: attempt_id("a", 1),
        outcome: Outcome::Exited(0),
        commit: None,
        tail: Text::empty(),
        usage: None,
    };
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
    let expected = ["PrepareMerge", "SetTimer", "StartAttempt", "Deliver"];
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
