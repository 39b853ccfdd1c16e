//! Providers that refuse requests for now: which tasks wait, how long, and which are not charged.

use std::sync::Arc;

use devstack_dag::{
    Config, Engine,
    attempt::Outcome,
    command::Command,
    effect::{Effect, Timer},
    ids::Timestamp,
    plan::{Executor, PlanSpec},
    record::{ProviderRecord, Status},
};

use crate::{
    common::{plan, profile, project_name, repo_plan, role, task, task_ref, uses},
    desk::Desk,
};

/// Tasks a and b of `dev` use provider `acme`, c of `other` uses none.
fn three() -> PlanSpec {
    let mut other = task("c", &[]);
    other.executor = Executor::Agent("other".parse().unwrap());
    let mut plan = plan(vec![task("a", &[]), task("b", &[]), other]);
    plan.project.roles.push(role("other", 1));
    uses(&mut plan, profile("cli", "acme"), &["dev"]);
    plan
}

fn limited(reset: Option<u64>) -> Outcome {
    Outcome::RateLimited { reset: reset.map(Timestamp) }
}

fn unpark(desk: &Desk) -> Command {
    let known = acme(desk).unwrap();
    Command::TimerFired(Timer::Unpark { provider: known.provider, until: known.until.unwrap() })
}

fn acme(desk: &Desk) -> Option<ProviderRecord> {
    desk.engine.providers().next().cloned()
}

#[test]
fn a_limit_parks_its_provider_until_the_reset_and_charges_nobody() {
    let (mut desk, effects) = Desk::new(three(), 9);
    assert_eq!(effects.len(), 3);
    let at = desk.now + 1;
    assert_eq!(desk.ends("a", limited(Some(at + 90_000)), None), ["forget a/1", "unpark acme 90000"]);
    let task_a = desk.task("a");
    assert_eq!((task_a.status, task_a.charged, task_a.uncharged, task_a.limited), (Status::Todo, 0, 0, 1));
    // Roles of other providers continue; running attempts are left alone.
    assert_eq!(desk.passes("c"), ["forget c/1"]);
    assert_eq!(desk.passes("b"), ["forget b/1"]);
    let said = desk.engine.explain(&task_ref("a")).unwrap();
    assert!(said.contains("`acme` is parked until 1970-01-01T00:01:30Z"), "{said}");
    assert!(!desk.engine.settled(&[task_ref("a")]), "it moves by itself");
    assert!(desk.engine.waiting(None).is_empty(), "no person is waited for");
    let timer = unpark(&desk);
    assert_eq!(desk.act(timer), ["start a/2 dev1@h"]);
    desk.passes("a");
    assert_eq!(acme(&desk), None);
    assert_eq!(desk.task("a").limited, 0);
}

#[test]
fn without_a_reset_it_waits_longer_each_time() {
    let (mut desk, _) = Desk::new(three(), 9);
    let mut waits = Vec::new();
    for _ in 0..9 {
        desk.ends("a", limited(None), None);
        waits.push(acme(&desk).unwrap().after_ms / 1000);
        let timer = unpark(&desk);
        desk.act(timer);
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
}

#[test]
fn a_reset_that_is_over_is_no_reason_to_hurry() {
    let (mut desk, _) = Desk::new(three(), 9);
    desk.ends("a", limited(Some(0)), None);
    assert_eq!(acme(&desk).unwrap().after_ms, 30_000);
}

#[test]
fn a_reset_in_a_thousand_years_is_not_believed() {
    let (mut desk, _) = Desk::new(three(), 9);
    desk.ends("a", limited(Some(u64::MAX)), None);
    assert_eq!(acme(&desk).unwrap().after_ms, 8 * 86_400_000);
}

#[test]
fn attempts_beside_it_extend_the_wait_and_count_once() {
    let (mut desk, _) = Desk::new(three(), 9);
    desk.ends("a", limited(Some(100_000)), None);
    let early = unpark(&desk);
    desk.ends("b", limited(Some(200_000)), None);
    assert_eq!((acme(&desk).unwrap().times, acme(&desk).unwrap().until), (1, Some(Timestamp(200_000))));
    // The timer of the first wait is outdated.
    assert_eq!(desk.act(early), [""; 0]);
    let timer = unpark(&desk);
    assert_eq!(desk.act(timer), ["start a/2 dev1@h", "start b/2 dev2@h"]);
}

#[test]
fn a_person_ends_the_wait() {
    let (mut desk, _) = Desk::new(three(), 9);
    desk.ends("a", limited(None), None);
    assert_eq!(desk.act(Command::ResumeProject(project_name("p"))), ["start a/2 dev1@h"]);
    assert_eq!(desk.act(Command::ResumeProject(project_name("p"))), [""; 0]);
}

#[test]
fn a_restart_waits_for_what_is_left_and_never_longer_than_at_first() {
    let (mut desk, _) = Desk::new(three(), 9);
    let reset = desk.now + 1 + 60_000;
    desk.ends("a", limited(Some(reset)), None);
    let restarted = Engine::from_records(Config::default(), desk.engine.records()).unwrap();
    assert!(restarted.running(&task_ref("a")).is_none());
    let left = |now| {
        let timer = |effect| match effect {
            Effect::SetTimer { timer: Timer::Unpark { .. }, after_ms } => Some(after_ms),
            _ => None,
        };
        restarted.resume(Timestamp(now)).into_iter().find_map(timer)
    };
    assert_eq!(left(reset - 20_000), Some(20_000));
    assert_eq!(left(reset + 5), Some(0));
    assert_eq!(left(0), Some(60_000), "a clock that was set back");
}

#[test]
fn whoever_is_only_ever_sent_back_ends_with_a_person() {
    let (mut desk, _) = Desk::new(three(), 9);
    for n in 1..20 {
        desk.ends("a", limited(None), None);
        assert_eq!((desk.status("a"), desk.task("a").limited), (Status::Todo, n));
        let timer = unpark(&desk);
        desk.act(timer);
    }
    desk.ends("a", limited(None), None);
    assert_eq!(desk.blocked("a"), "needs-human");
    desk.act(Command::RetryTask { task: task_ref("a"), message: None });
    assert_eq!(desk.task("a").limited, 0);
}

#[test]
fn checks_of_a_parked_role_go_on() {
    let mut plan = repo_plan(vec![task("a", &[]), task("b", &[])]);
    plan.project.checks = vec!["make test".into()];
    uses(&mut plan, profile("cli", "acme"), &["dev"]);
    let (mut desk, _) = Desk::new(plan, 2);
    desk.ends("a", limited(None), None);
    assert_eq!(desk.done("b", 5), ["forget b/1", "prepare b/1"]);
    assert_eq!(desk.prepared("b", 1, 1, 6), ["check b/2 dev1@h"]);
}

#[test]
fn a_role_without_a_provider_has_nobody_to_park() {
    let (mut desk, _) = Desk::new(three(), 9);
    desk.ends("c", limited(None), None);
    assert_eq!((acme(&desk), desk.task("c").uncharged), (None, 20));
}

#[test]
fn an_agent_gets_one_secret_of_each_group() {
    let mut plan = plan(vec![task("a", &[])]);
    let mut one_of = Arc::unwrap_or_clone(profile("cli", "acme"));
    one_of.secrets = [["KEY".into(), "TOKEN".into()].into()].into();
    uses(&mut plan, Arc::new(one_of), &["dev"]);
    let (mut desk, _) = Desk::new(plan, 1);
    let said = desk.engine.explain(&task_ref("a")).unwrap();
    assert!(said.contains("KEY or TOKEN"), "{said}");
    assert_eq!(desk.host("k", 1, &["TOKEN"]), ["start a/1 dev1@k"]);
    let order = desk.last.unwrap().effects.into_iter().find_map(|effect| match effect {
        Effect::StartAttempt { order, .. } => Some(order),
        _ => None,
    });
    let order = order.unwrap();
    assert_eq!((order.secrets, order.profile.unwrap().name.clone()), (vec!["TOKEN".to_owned()], "cli".into()));
}
