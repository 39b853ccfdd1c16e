//! What a container costs through devstack, beside the engine's own calls for the same container, in one run.
//!
//!     cargo bench --bench containers                  # all three
//!     cargo bench --bench containers attempt          # one attempt after the other, network none and bridge
//!     cargo bench --bench containers many             # 100 at once: memory, latency of starts
//!     cargo bench --bench containers logs             # 50 MB/s from one container
//!
//! Needs a Docker engine; prints tables for docs/benchmarks.md. Deliberately absent: the Taskmaster (end_to_end).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/harness/containers.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod containers;
#[path = "../tests/runtime/harness.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod harness;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use containers::{Containers, socket};
use devstack::runtime::{Job, Runtime};
use devstack_dag::plan::Network;
use futures::StreamExt;
use harness::{attempt, job, shell};

/// Pairs of an attempt and the bare calls; each pair back to back, since the machine is shared.
const PAIRS: u32 = 20;
/// Containers at once.
const MANY: u32 = 100;

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    if runs("attempt") {
        attempts(Network::None, "none").await;
        attempts(Network::Bridge, "bridge").await;
    }
    if runs("many") {
        many().await;
    }
    if runs("logs") {
        logs().await;
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

async fn attempts(network: Network, name: &str) {
    let Some(scratch) = Containers::new(|_| {}).await else { return };
    let engine = Docker::connect_with_unix(&socket(), 120, API_DEFAULT_VERSION).unwrap();
    let (mut ours, mut bare, mut host_config) = (Vec::new(), Vec::new(), None);
    for number in 0..=PAIRS {
        let job = Job { network, ..job(number + 1, &["/bin/true"]) };
        let started = Instant::now();
        scratch.runtime.start(&job).await.unwrap();
        scratch.runtime.wait(&job.attempt).await.unwrap();
        let waited = started.elapsed();
        if host_config.is_none() {
            let found = engine.inspect_container(&scratch.names()[0], None).await.unwrap();
            host_config = found.host_config;
        }
        let started = Instant::now();
        scratch.runtime.remove(&job.attempt).await.unwrap();
        let whole = waited + started.elapsed();
        let alone = by_hand(&engine, without_files(host_config.clone().unwrap())).await;
        // The first pair warms the engine and makes the bridge.
        if number > 0 {
            ours.push(whole);
            bare.push(alone);
        }
    }
    scratch.runtime.tidy().await;
    let (ours, bare) = (median(ours), median(bare));
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!("attempt, network {name}: {ours:.1?}; create, start, wait, remove by hand: {bare:.1?}; ratio {ratio:.3}");
}

/// The same container without the files of the attempt, which are gone.
fn without_files(config: HostConfig) -> HostConfig {
    HostConfig { mounts: None, ..config }
}

async fn by_hand(engine: &Docker, host_config: HostConfig) -> Duration {
    let name = "devstack-bench-by-hand";
    let body = ContainerCreateBody {
        image: Some("devstack/minimal".to_owned()),
        entrypoint: Some(vec!["/bin/true".to_owned()]),
        user: Some("10001:10001".to_owned()),
        labels: Some(HashMap::from([("devstack.bench".to_owned(), "1".to_owned())])),
        host_config: Some(host_config),
        ..Default::default()
    };
    let started = Instant::now();
    engine.create_container(Some(CreateContainerOptionsBuilder::default().name(name).build()), body).await.unwrap();
    engine.start_container(name, None).await.unwrap();
    let not_running = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let _ = engine.wait_container(name, Some(not_running)).next().await;
    engine.remove_container(name, Some(RemoveContainerOptionsBuilder::default().force(true).build())).await.unwrap();
    started.elapsed()
}

async fn many() {
    let Some(scratch) = Containers::new(|config| config.starts = 2).await else { return };
    let mut latencies = Vec::new();
    let mut watches = Vec::new();
    for number in 1..=MANY {
        let job = shell(number, "sleep 1000");
        let started = Instant::now();
        scratch.runtime.start(&job).await.unwrap();
        latencies.push(started.elapsed());
        let runtime = scratch.runtime.clone();
        watches.push(tokio::spawn(async move { runtime.wait(&attempt(number)).await.map(drop) }));
    }
    let around = |at: usize| median(latencies[at - 5..at + 5].to_vec());
    let (tenth, last) = (around(10), around(MANY as usize - 5));
    println!(
        "{MANY} containers at once: start of the 10th {tenth:.1?}, of the 100th {last:.1?} (medians of ten around)"
    );
    println!("memory of this process with {MANY} attempts: {} MB", resident_kb("self") / 1000);
    for number in 1..=MANY {
        scratch.runtime.remove(&attempt(number)).await.unwrap();
    }
}

async fn logs() {
    let Some(scratch) = Containers::new(|_| {}).await else { return };
    // About 50 MB a second for ten seconds, in pieces.
    let script = "for i in $(seq 100); do head -c 5000000 /dev/zero | tr '\\0' x; usleep 60000; done";
    let job = shell(1, script);
    scratch.runtime.start(&job).await.unwrap();
    let started = Instant::now();
    let pid = scratch.pid(&job.attempt);
    let (mut processor, mut memory) = (Duration::ZERO, 0);
    let wait = scratch.runtime.wait(&job.attempt);
    tokio::pin!(wait);
    let ended = loop {
        tokio::select! {
            ended = &mut wait => break ended.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                processor = processor.max(processor_of(pid));
                memory = memory.max(resident_kb(&pid.to_string()));
            }
        }
    };
    let took = started.elapsed();
    let kept = std::fs::metadata(scratch.log_of(&job.attempt)).map_or(0, |file| file.len());
    println!(
        "500 MB of output in {took:.1?} ({:.0} MB/s), {:?}: the shim used {:.2} cores and at most {} MB; {} MB kept",
        500.0 / took.as_secs_f64(),
        ended.outcome,
        processor.as_secs_f64() / took.as_secs_f64(),
        memory / 1000,
        kept / 1_000_000,
    );
    scratch.runtime.remove(&job.attempt).await.unwrap();
}

/// Processor time of a process alone, without its children's.
fn processor_of(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks: u64 = fields.get(11..13).unwrap_or_default().iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of a process, in kB.
fn resident_kb(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
