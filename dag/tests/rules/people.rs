//! Commands of users.

use devstack_dag::{Answer, attempt::Outcome, command::Command, plan::Executor, record::Status};

use crate::{
    common::{commit, plan, project_name, repo_plan, task, task_ref},
    desk::Desk,
};

fn reject(id: &str) -> Command {
    Command::RejectTask { task: task_ref(id), reason: "not wanted".into() }
}

#[test]
fn stop_is_kept_until_the_host_reports_and_is_not_charged() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[])]), 1);
    let stop = || Command::StopTask(task_ref("a"));
    assert_eq!(desk.act(stop()), ["stop a/1"]);
    assert_eq!(desk.act(stop()), ["stop a/1"]);
    assert_eq!(desk.answer(), Answer::Unchanged);
    // The agent answered SIGTERM with its own exit code.
    assert_eq!(desk.ends("a", Outcome::Exited(143), None), ["forget a/1", "backoff a/1 1000"]);
    assert_eq!((desk.task("a").charged, desk.task("a").uncharged), (0, 20));
    assert_eq!(desk.refused(stop()), "DS0211");
}

#[test]
fn rejecting_blocks_everything_that_depends_on_it_and_fences_the_attempt() {
    let tasks = vec![task("a", &[]), task("b", &["a"]), task("c", &["b"]), task("free", &[])];
    let (mut desk, _) = Desk::new(plan(tasks), 1);
    assert_eq!(desk.act(reject("a")), ["stop a/1", "start free/1 dev1@h"]);
    assert_eq!((desk.blocked("b"), desk.blocked("c")), ("dependency-rejected", "dependency-rejected"));
    assert!(desk.task("c").blocked.unwrap().1.contains("`a`"), "it names the root");
    assert_eq!(desk.attempt_ends("a", 1, Outcome::Exited(0), None), ["forget a/1"]);
    assert_eq!(desk.status("a"), Status::Rejected);
    assert_eq!(desk.refused(Command::RetryTask { task: task_ref("c"), message: None }), "DS0214");
    assert_eq!(desk.refused(reject("a")), "DS0215");
}

#[test]
fn an_upsert_that_no_longer_depends_on_the_rejected_task_frees_the_rest() {
    let tasks = vec![task("a", &[]), task("b", &["a"]), task("c", &["b"])];
    let (mut desk, _) = Desk::new(plan(tasks), 1);
    desk.act(reject("a"));
    let effects = desk.submit(plan(vec![task("a", &[]), task("b", &[]), task("c", &["b"])])).unwrap();
    assert_eq!(effects, ["start b/1 dev1@h"]);
    assert_eq!(desk.status("c"), Status::Todo);
}

#[test]
fn a_paused_project_starts_nothing_but_finishes_what_runs() {
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), task("b", &[])]), 1);
    desk.act(Command::PauseProject(project_name("p")));
    assert_eq!(desk.done("a", 5), ["forget a/1", "prepare a/1"]);
    assert_eq!(desk.prepared("a", 1, 1, 6), ["publish 1 1->6"]);
    desk.landed(1, 6);
    assert!(!desk.engine.settled(&[task_ref("b")]), "the merge is on its way to the source");
    desk.act(Command::Delivered { project: project_name("p"), head: commit(6) });
    assert!(desk.engine.settled(&[task_ref("b")]));
    assert_eq!(desk.act(Command::ResumeProject(project_name("p"))), ["start b/1 dev1@h"]);
    assert!(!desk.engine.settled(&[task_ref("b")]));
}

#[test]
fn cancel_gives_up_everything_unfinished() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &[]), task("c", &["b"])]), 1);
    desk.passes("b");
    let effects = desk.act(Command::CancelPlan { project: project_name("p"), plan: Some(1) });
    assert_eq!(effects, ["stop a/1"]);
    assert_eq!(desk.answer(), Answer::Cancelled { rejected: 2, merging: Vec::new() });
    assert_eq!((desk.status("b"), desk.status("c")), (Status::Completed, Status::Rejected));
    assert_eq!(desk.refused(Command::CancelPlan { project: project_name("p"), plan: Some(2) }), "DS0203");
    assert_eq!(desk.refused(Command::CancelPlan { project: project_name("q"), plan: None }), "DS0201");
}

#[test]
fn retry_ends_a_backoff_and_is_refused_elsewhere() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &["a"])]), 1);
    let retry = |id| Command::RetryTask { task: task_ref(id), message: None };
    assert_eq!(desk.refused(retry("a")), "DS0212");
    assert_eq!(desk.refused(retry("b")), "DS0212");
    assert_eq!(desk.refused(retry("none")), "DS0202");
    desk.fails("a");
    assert_eq!(desk.act(retry("a")), ["start a/2 dev1@h"]);
    // The timer of a back-off that has ended changes nothing.
    assert_eq!(
        desk.act(Command::TimerFired(devstack_dag::effect::Timer::Backoff(crate::common::attempt_id("a", 1)))),
        [""; 0]
    );
}

#[test]
fn a_persons_task_waits_for_its_dependencies_and_then_for_the_person() {
    let mut human = task("h1", &["a"]);
    human.executor = Executor::Human;
    let (mut desk, _) = Desk::new(repo_plan(vec![task("a", &[]), human.clone()]), 1);
    let resolve = || Command::ResolveTask { task: task_ref("h1"), number: 1, commit: commit(8) };
    assert_eq!(desk.refused(resolve()), "DS0218");
    desk.done("a", 5);
    desk.prepared("a", 1, 1, 6);
    assert_eq!(desk.landed(1, 6), ["deliver"]);
    assert_eq!(desk.refused(Command::ApproveTask(task_ref("h1"))), "DS0216");
    assert_eq!(desk.act(resolve()), ["prepare h1/1"]);
    assert_eq!(desk.refused(Command::ResolveTask { task: task_ref("a"), number: 2, commit: commit(8) }), "DS0217");

    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), human]), 1);
    assert_eq!(desk.refused(Command::ApproveTask(task_ref("h1"))), "DS0218");
    desk.passes("a");
    assert_eq!(desk.refused(resolve()), "DS0220");
    desk.act(Command::ApproveTask(task_ref("h1")));
    assert_eq!(desk.status("h1"), Status::Completed);
}

#[test]
fn what_waits_for_a_person_is_counted_by_what_it_waits_for() {
    let mut human = task("h", &[]);
    human.executor = Executor::Human;
    let mut of_another = task("t", &[]);
    of_another.executor = Executor::Agent("other".parse().unwrap());
    let mut plan = plan(vec![task("a", &[]), task("b", &["a"]), human, of_another]);
    let mut other = plan.project.roles[0].clone();
    (other.name, other.labels) = ("other".parse().unwrap(), [("gpu".to_owned(), "a100".to_owned())].into());
    plan.project.roles.push(other);
    let (mut desk, _) = Desk::new(plan, 1);
    desk.act(reject("a"));
    let counted = desk.engine.waiting_counts();
    assert!(devstack_dag::WAITING_FOR.iter().all(|word| counted.contains_key(word)), "{counted:?}");
    assert_eq!((counted["human"], counted["unplaceable"], counted["dependency-rejected"]), (1, 1, 1));
    assert_eq!(counted.values().sum::<u32>(), 3);
}

#[test]
fn a_task_is_ready_since_nothing_but_a_slot_was_missing() {
    let (mut desk, _) = Desk::new(plan(vec![task("a", &[]), task("b", &["a"])]), 1);
    let since = |desk: &Desk, id| desk.engine.ready_since(&task_ref(id)).map(|at| at.0);
    assert_eq!((since(&desk, "a"), since(&desk, "b")), (Some(1), None));
    desk.now = 100;
    desk.passes("a");
    // It started in the same step.
    assert_eq!((since(&desk, "a"), since(&desk, "b")), (Some(1), Some(101)));
    assert_eq!(desk.engine.running(&task_ref("b")).unwrap().started_at.0, 101);
}
