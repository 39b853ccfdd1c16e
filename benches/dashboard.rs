//! What the dashboard's pictures cost: laying out and drawing plans, folded and not, and a day of attempts.
//!
//! `cargo bench --bench dashboard`
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; a benchmark fails by panicking

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use devstack::gateway::{
    draw::{
        dag::{Fold, Options, Task, draw},
        gantt::{self, Span, State, gantt},
    },
    dto::STATUSES,
};
use devstack_dag::{attempt::Stage, record::Status};

/// Numbers that look random and are the same every time.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

fn task(number: usize, dependencies: &[usize], status: Status) -> Task {
    let id = |number: usize| format!("T-{number:04}");
    let dependencies = dependencies.iter().map(|&on| id(on)).collect();
    Task { id: id(number), title: format!("What task number {number} is to do"), status, dependencies }
}

/// A plan as people write them: up to three dependencies on earlier tasks, mostly on near ones.
fn plan(tasks: usize, reach: usize) -> Vec<Task> {
    let mut random = numbers();
    let one = |at: usize| {
        let dependencies: Vec<usize> =
            (0..random(4)).filter(|_| at > 0).map(|_| at - 1 - random(at.min(reach))).collect();
        task(at, &dependencies, STATUSES[random(8)])
    };
    (0..tasks).map(one).collect()
}

/// Ten tasks in each of the layers, each needing up to three of the layer before.
fn layers(tasks: usize) -> Vec<Task> {
    let mut random = numbers();
    let one = |at: usize| {
        let dependencies: Vec<usize> =
            if at < 10 { vec![] } else { (0..3).map(|_| at - at % 10 - 10 + random(10)).collect() };
        task(at, &dependencies, STATUSES[random(8)])
    };
    (0..tasks).map(one).collect()
}

fn graphs(c: &mut Criterion) {
    let mut group = c.benchmark_group("graph");
    let plans = [
        ("500 tasks, near dependencies", plan(500, 40)),
        ("500 tasks, dependencies anywhere", plan(500, 500)),
        ("500 tasks in 50 layers", layers(500)),
        ("1,500 tasks, near dependencies", plan(1500, 40)),
        ("1,500 tasks in 150 layers", layers(1500)),
    ];
    for (name, tasks) in &plans {
        let picture = draw(tasks, &Options::default()).unwrap();
        println!(
            "{name}: {} boxes, {} arrows, {} follow from others, {} KiB",
            picture.nodes,
            picture.edges,
            picture.implied,
            picture.svg.len() / 1024
        );
        group.bench_function(*name, |b| b.iter(|| black_box(draw(tasks, &Options::default()).unwrap())));
    }
    let large = plan(10_000, 100);
    let options = Options { fold: Fold::Similar, only: true, focus: Some("T-5000"), ..Options::default() };
    match draw(&large, &options) {
        Ok(picture) => println!("the way of one of 10,000: {} boxes of {} tasks", picture.nodes, picture.tasks),
        Err(error) => println!("the way of one of 10,000: {error}"),
    }
    group.bench_function("the way of one of 10,000 tasks", |b| b.iter(|| black_box(draw(&large, &options))));
    group.finish();
}

fn attempts(c: &mut Criterion) {
    let mut random = numbers();
    let mut spans = Vec::new();
    for agent in 0..50 {
        let mut at = 0;
        for number in 0..100 {
            let ended = at + random(1_500_000) as u64;
            spans.push(Span {
                host: format!("builder-{}", agent % 5),
                project: "shop".into(),
                task: format!("T-{number:04}"),
                number: 1,
                agent: format!("dev{agent}"),
                stage: Stage::Work,
                state: State::ALL[random(3)],
                outcome: Some("done".into()),
                started: at,
                ended: Some(ended),
            });
            at = ended + random(200_000) as u64;
        }
    }
    let day = gantt::Options { from: 0, until: 86_400_000, now: 86_400_000, link: None, rows: 200 };
    println!("5,000 attempts: {} KiB", gantt(&spans, &day).svg.len() / 1024);
    c.bench_function("a day of 5,000 attempts", |b| b.iter(|| black_box(gantt(&spans, &day))));
}

criterion_group!(benches, graphs, attempts);
criterion_main!(benches);
