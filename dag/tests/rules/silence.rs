//! How long attempts of a silent host are waited for: by role, by the task's timeout, by the Taskmaster's setting.

use devstack_dag::{
    command::Command, effect::Effect, ids::RoleName, plan::Executor, presence::Presence, record::Status,
};

use crate::{
    common::{host_name, plan, role, task, task_ref},
    desk::Desk,
};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;

/// `short` is waited for as long as its host, `long` ten minutes for its timeout, `own` as long as its role says.
fn desk(own: u64) -> (Desk, Vec<String>) {
    let mut tasks = ["short", "long", "own"].map(|id| task(id, &[])).to_vec();
    tasks[0].timeout_ms = 20 * MINUTE;
    tasks[1].timeout_ms = 20 * MINUTE + 1;
    tasks[2].timeout_ms = 60 * MINUTE;
    tasks[2].executor = Executor::Agent(RoleName::new("other").unwrap());
    let mut plan = plan(tasks);
    plan.project.roles.push(role("other", 1));
    plan.project.roles[1].max_disconnect_ms = Some(own);
    Desk::new(plan, 3)
}

fn silent(desk: &mut Desk, silent_ms: u64) {
    desk.act(Command::LoseHost { host: host_name("h"), silent_ms });
}

fn running(desk: &Desk) -> Vec<String> {
    desk.engine.on_host(&host_name("h")).map(|run| run.attempt.task.id.to_string()).collect()
}

#[test]
fn an_order_says_how_long_its_attempt_is_waited_for() {
    let (desk, _) = desk(15 * MINUTE);
    let waits = |id: &str| {
        let effects = desk.engine.resume(desk.engine.task(&task_ref(id)).unwrap().updated_at).into_iter();
        let orders = effects.filter_map(|effect| match effect {
            Effect::StartAttempt { order, .. } => Some(order),
            _ => None,
        });
        orders.filter(|order| order.attempt.task == task_ref(id)).map(|order| order.max_disconnect_ms).next().unwrap()
    };
    assert_eq!([waits("short"), waits("long"), waits("own")], [None, Some(10 * MINUTE), Some(15 * MINUTE)]);
}

#[test]
fn attempts_of_a_silent_host_are_given_up_one_by_one_and_the_host_with_the_last() {
    let (mut desk, _) = desk(15 * MINUTE);
    let host = host_name("h");
    desk.act(Command::SuspectHost(host.clone()));
    assert_eq!(desk.engine.patience(&host, 0), Some(2 * MINUTE));
    silent(&mut desk, 2 * MINUTE - 1);
    assert_eq!(running(&desk), ["short", "long", "own"]);
    silent(&mut desk, 2 * MINUTE);
    assert_eq!((running(&desk), desk.status("short")), (vec!["long".into(), "own".into()], Status::Todo));
    assert!(matches!(desk.engine.presence(&host), Some(Presence::Suspect { .. })), "its attempts are waited for");
    assert_eq!(desk.engine.patience(&host, 2 * MINUTE), Some(10 * MINUTE));
    silent(&mut desk, 10 * MINUTE);
    assert_eq!(running(&desk), ["own"]);
    assert_eq!(desk.engine.patience(&host, 10 * MINUTE), Some(15 * MINUTE));
    silent(&mut desk, 15 * MINUTE);
    assert!(matches!(desk.engine.presence(&host), Some(Presence::Lost { .. })));
    assert_eq!((running(&desk).len(), desk.engine.patience(&host, 15 * MINUTE)), (0, None));
}

#[test]
fn a_role_that_does_not_wait_loses_its_attempt_before_the_host_is_lost() {
    let (mut desk, _) = desk(10 * SECOND);
    let host = host_name("h");
    desk.act(Command::SuspectHost(host.clone()));
    assert_eq!(desk.engine.patience(&host, 0), Some(10 * SECOND));
    silent(&mut desk, 10 * SECOND);
    assert_eq!(running(&desk), ["short", "long"]);
    assert!(matches!(desk.engine.presence(&host), Some(Presence::Suspect { .. })));
    // The host returns and keeps the attempts that were still waited for. The order of the other attempt is not sent
    // again.
    assert_eq!(desk.host("h", 3, &[]), ["start short/1 dev1@h", "start long/1 dev2@h", "start own/2 other1@h"]);
}

#[test]
fn a_host_without_attempts_is_lost_as_its_taskmaster_says() {
    let mut desk = Desk::new(plan(vec![]), 2).0;
    let host = host_name("h");
    desk.act(Command::SuspectHost(host.clone()));
    assert_eq!(desk.engine.patience(&host, 0), Some(2 * MINUTE));
    silent(&mut desk, 2 * MINUTE);
    assert!(matches!(desk.engine.presence(&host), Some(Presence::Lost { .. })));
}
