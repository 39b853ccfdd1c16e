//! Agents that take more than they were given: each ends as what it is, and its neighbours go on.

use std::{
    fs,
    time::{Duration, Instant},
};

use devstack::runtime::{Ended, Job, Runtime, TAIL_MAX};
use devstack_dag::{attempt::Outcome, plan::Limits};
use devstack_shim::procs::{self, Process};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{containers::Containers, harness::*, world::*};

async fn ends(w: &Containers, job: &Job) -> Ended {
    let ended = run(&w.runtime, job).await;
    let lines = said_of(&job.attempt);
    assert!(lines.iter().any(|line| line.contains("its container ended")), "{lines:?}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_ends_by_its_limit_of_processes() {
    let Some(w) = world().await else { return };
    // Waits for its own end, whatever becomes of its children.
    let mut patient = shell(1, "bomb() { bomb | bomb & }; bomb; sleep 1001");
    // Fails at the first process that it is refused.
    let mut honest = shell(2, "while sleep 1001 & do :; done; exit 9");
    for job in [&mut patient, &mut honest] {
        job.limits = Limits { pids: Some(40), ..Limits::default() };
        (job.timeout_ms, job.grace_ms) = (2000, 200);
    }
    let (patient, honest) = tokio::join!(ends(&w, &patient), ends(&w, &honest));
    assert_eq!(patient.outcome, Outcome::OutOfProcesses);
    assert_eq!(honest.outcome, Outcome::OutOfProcesses);
    for number in 1..=2 {
        assert_eq!(w.inspect(&attempt(number), "{{.State.Running}}"), "false");
        w.remove(&attempt(number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_is_out_of_memory_wherever_it_is() {
    let Some(w) = world().await else { return };
    let scripts = [
        // The shell lives on and passes the failure of its child on.
        "sh -c 'x=$(head -c 400000000 /dev/zero | tr \\\\0 x)'; exit 9",
        "exec dd if=/dev/zero of=/dev/null bs=200M count=1",
        // Files of a tmpfs cannot be killed: whoever needs memory next is.
        "for d in /dev/shm /tmp $HOME; do cat /dev/zero > $d/fill; done 2>/dev/null; exit 9",
    ];
    let jobs = scripts.iter().zip(1..).map(|(script, number)| {
        let mut job = shell(number, script);
        job.limits = Limits { memory: Some(48 << 20), ..Limits::default() };
        job
    });
    let jobs: Vec<_> = jobs.collect();
    let ended = futures::future::join_all(jobs.iter().map(|job| ends(&w, job))).await;
    for (script, ended) in scripts.iter().zip(ended) {
        assert_eq!(ended.outcome, Outcome::OutOfMemory, "{script}: {}", ended.tail);
    }
    w.remove(&attempt(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_bounded_in_size_in_files_and_in_depth() {
    let Some(w) = world_with(|config| config.disk_max = 8 << 20).await else { return };
    let scripts = [
        ("head -c 50000000 /dev/zero > big", Outcome::OutOfDisk),
        ("exec head -c 50000000 /dev/zero > big", Outcome::OutOfDisk),
        ("for i in 1 2 3 4 5; do head -c 4000000 /dev/zero > f$i; done; sleep 1001", Outcome::OutOfDisk),
        ("sleep 3; i=0; while :; do : > $i; i=$((i+1)); done", Outcome::OutOfDisk),
        ("for i in 1 2 3 4 5; do head -c 4000000 /dev/zero > /devstack/out/f$i; done; sleep 1001", Outcome::OutOfDisk),
        ("while mkdir deeper && cd deeper; do :; done; sleep 1001", Outcome::OutOfDisk),
        // Within its limit, and hidden: looked into, left alone.
        ("mkdir a; head -c 1000000 /dev/zero > a/f; chmod 0 a; sleep 3; exit 4", Outcome::Exited(4)),
    ];
    let jobs = scripts.iter().zip(1..).map(|((script, _), number)| {
        let mut job = shell(number, script);
        job.grace_ms = 200;
        job
    });
    let jobs: Vec<_> = jobs.collect();
    let ended = futures::future::join_all(jobs.iter().map(|job| ends(&w, job))).await;
    for ((script, outcome), ended) in scripts.iter().zip(ended) {
        assert_eq!(ended.outcome, *outcome, "{script}: {}", ended.tail);
    }
    for job in &jobs {
        w.remove(&job.attempt).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_words_is_cut_and_its_ends_are_kept() {
    let Some(w) = world_with(|config| config.log_max = 1 << 20).await else { return };
    let mut endless = shell(2, "echo first; exec yes flood");
    (endless.timeout_ms, endless.grace_ms) = (1500, 200);
    let bounded = shell(1, "echo first; head -c 200000000 /dev/zero | tr '\\0' x; echo; echo last");
    let (bounded, endless) = tokio::join!(ends(&w, &bounded), ends(&w, &endless));
    assert_eq!((bounded.outcome, endless.outcome), (Outcome::Exited(0), Outcome::TimedOut));
    assert!(bounded.tail.ends_with("x\nlast\n") && bounded.tail.len() as u64 <= TAIL_MAX);
    for number in 1..=2 {
        let text = log(&w.runtime, &attempt(number)).await;
        assert!(text.starts_with("first\n") && text.contains("bytes left out]"), "{number}");
        assert!(text.len() < (1 << 20) + 100, "{number}: {}", text.len());
        // The engine's copy, whose labels on each line are longer than these lines, is three files of ten megabytes.
        let path = w.inspect(&attempt(number), "{{.LogPath}}");
        let files =
            ["", ".1", ".2", ".3"].map(|part| fs::metadata(format!("{path}{part}")).map_or(0, |file| file.len()));
        let kept: u64 = files.iter().sum();
        assert!((4096..31 << 20).contains(&kept), "{number}: {files:?}");
    }
}

/// With a processor for each slot, a neighbour of eight busy loops is none worse than an honest one of one.
/// Both neighbours are there by turns, so what else the machine does meets both alike.
#[tokio::test(flavor = "multi_thread")]
async fn busy_loops_leave_a_neighbour_its_speed() {
    const TURNS: usize = 16;
    const TURN: Duration = Duration::from_millis(300);
    let Some(w) = world_with(|config| config.pin = true).await else { return };
    let count = "i=0; while :; do i=$((i+1)); [ $((i % 2000)) = 0 ] && echo $i > new && mv new count; done";
    let busy = format!("{} touch up; wait", "(while :; do :; done) & ".repeat(8));
    w.runtime.start(&shell(2, &busy)).await.unwrap();
    w.runtime.start(&shell(1, count)).await.unwrap();
    w.until_made(&attempt(1), "count").await;
    w.until_made(&attempt(2), "up").await;
    let shim = w.pid(&attempt(2));
    let agents = || procs::descendants(&procs::all().unwrap(), &[shim]);
    let spins = |process: &Process| process.parent != shim && process.cpu_ticks > 0;
    until("all eight spin", || agents().into_iter().filter(spins).count() == 8).await;
    let loops: Vec<_> = agents().into_iter().filter(spins).collect();
    let file = w.attempt_dir(&attempt(1)).join("workspace/count");
    let counted = || fs::read_to_string(&file).unwrap().trim().parse::<u64>().unwrap();
    let (mut honest, mut hostile) = (0.0, 0.0);
    for turn in 0..TURNS {
        let what = if turn % 2 == 0 { Signal::SIGSTOP } else { Signal::SIGCONT };
        loops.iter().skip(1).for_each(|process| kill(Pid::from_raw(process.pid), what).unwrap());
        let (before, since) = (counted(), Instant::now());
        tokio::time::sleep(TURN).await;
        let speed = (counted() - before) as f64 / since.elapsed().as_secs_f64();
        *(if turn % 2 == 0 { &mut honest } else { &mut hostile }) += speed;
    }
    assert!(hostile >= honest * 0.8, "beside one loop {honest:.0}, beside eight {hostile:.0}");
    // Meanwhile the host still starts and ends others.
    assert_eq!(run(&w.runtime, &shell(3, "exit 3")).await.outcome, Outcome::Exited(3));
    for number in 1..=2 {
        w.runtime.stop(&attempt(number)).await.unwrap();
        w.remove(&attempt(number)).await;
    }
}
