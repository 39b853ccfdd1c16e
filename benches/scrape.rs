//! A scrape of `/metrics` at 10,000 tasks and 100 hosts, beside the overview that a dashboard asks for: the look at the
//! engine and the text, without HTTP.
//!
//! `cargo bench --bench scrape`
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; a benchmark fails by panicking

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use devstack::{
    config::plan_file,
    gateway::{Standing, dto, view},
};
use devstack_dag::{Config, Engine, command::Command, command::HostReport, ids::HostName, ids::Timestamp};

const TASKS: usize = 10_000;
const HOSTS: usize = 100;

/// What most costs: nothing can be placed, or everything waits for a person.
fn engine(tasks: &str) -> Engine {
    let mut engine = Engine::new(Config::default());
    for number in 0..HOSTS {
        let host = HostReport::new(HostName::new(&format!("host-{number}")).unwrap(), 4);
        engine.step(Timestamp(1), Command::ReportHost(host)).unwrap();
    }
    let mut text =
        String::from("[project]\nname = \"p\"\n[agents.dev]\ncommand = [\"true\"]\nlabels = { gpu = \"a100\" }\n");
    (0..TASKS).for_each(|number| text += &format!("[[task]]\nid = \"t{number}\"\nprompt = \"x\"\n{tasks}"));
    let plan = plan_file::parse("plan.toml", &text, &plan_file::Posted).unwrap();
    engine.step(Timestamp(2), Command::SubmitPlan { plan, head: None }).unwrap();
    engine
}

fn scrape(c: &mut Criterion) {
    for (what, tasks) in [("no host can run any", ""), ("every one waits for a person", "executor = \"human\"\n")] {
        let engine = engine(tasks);
        let hosts = || view::hosts(&engine, &|_| dto::Setup::default());
        let mut group = c.benchmark_group(format!("{TASKS} tasks, {HOSTS} hosts, {what}"));
        group.bench_function("/metrics", |b| {
            b.iter(|| black_box(Standing::of(&engine, hosts(), &|_| Some(Duration::from_secs(1))).render()));
        });
        group.bench_function("/v1/status", |b| b.iter(|| black_box(view::overview(&engine, hosts()))));
        group.finish();
    }
}

criterion_group!(benches, scrape);
criterion_main!(benches);
