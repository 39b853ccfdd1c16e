//! The brief of an attempt: the same in a query and in an order.

use devstack_dag::{
    attempt::{Order, Outcome, Report},
    effect::Effect,
    ids::Text,
};

use crate::{
    common::{attempt_id, plan, task, task_ref},
    desk::Desk,
};

fn ordered(desk: &Desk) -> (Order, Option<Text>) {
    let effects = &desk.last.as_ref().unwrap().effects;
    let started = effects.iter().find_map(|effect| match effect {
        Effect::StartAttempt { order, template, .. } => Some(((**order).clone(), template.clone())),
        _ => None,
    });
    started.unwrap()
}

#[test]
fn a_task_is_told_what_it_builds_on_and_what_was_said_of_that() {
    let mut plan = plan(vec![task("a", &[]), task("b", &[]), task("c", &["b", "a"])]);
    plan.project.prompt_template = Some(Text::Inline("{{prompt}}".into()));
    let (mut desk, _) = Desk::new(plan, 2);
    let summary = Some(Text::Inline("the API is there".into()));
    desk.reports(Report { summary, ..Report::new(attempt_id("a", 1), Outcome::Exited(0)) });
    desk.passes("b");
    let (order, template) = ordered(&desk);
    assert_eq!(order.attempt, attempt_id("c", 1));
    assert!(!order.composed, "the shell composes: it reads long texts");
    let told: Vec<_> = order.dependencies.iter().map(|it| (it.id.as_str(), &*it.title, it.summary.clone())).collect();
    let said = Some(Text::Inline("the API is there".into()));
    assert_eq!(told, [("b", "Title of b", None), ("a", "Title of a", said)], "in the order of the plan");
    let brief = desk.engine.brief(&task_ref("c")).unwrap();
    assert_eq!((&brief.dependencies, &brief.template), (&order.dependencies, &template));
    assert_eq!((brief.title.as_str(), brief.prompt), ("Title of c", order.prompt));
    assert_eq!(brief.feedback, order.feedback);
    assert!(desk.engine.brief(&task_ref("nothing")).is_none());
}

#[test]
fn an_order_names_a_bounded_number_of_dependencies() {
    let ids: Vec<String> = (0..Order::DEPENDENCIES_MAX + 3).map(|n| format!("d{n}")).collect();
    let mut tasks: Vec<_> = ids.iter().map(|id| task(id, &[])).collect();
    tasks.push(task("last", &ids.iter().map(String::as_str).collect::<Vec<_>>()));
    let (desk, _) = Desk::new(plan(tasks), 1);
    let brief = desk.engine.brief(&task_ref("last")).unwrap();
    assert_eq!((brief.dependencies.len(), brief.more_dependencies), (Order::DEPENDENCIES_MAX, 3));
}

#[test]
fn texts_that_prompts_need_are_kept() {
    let mut plan = plan(vec![task("a", &[])]);
    let blob = |byte: u8| Text::Blob(devstack_dag::ids::BlobId([byte; 32]), 5_000);
    plan.project.prompt_template = Some(blob(1));
    let (mut desk, _) = Desk::new(plan, 1);
    desk.reports(Report { summary: Some(blob(2)), ..Report::new(attempt_id("a", 1), Outcome::Exited(0)) });
    let kept = desk.engine.blobs();
    assert!([1, 2].iter().all(|byte| kept.contains(&devstack_dag::ids::BlobId([*byte; 32]))), "{kept:?}");
}
