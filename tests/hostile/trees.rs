//! Trees that are small to write and hard to read, and what it takes to look at large changes: no agent and no viewer
//! ends the node by them or takes its memory.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    as_it_is,
    bench::{Plan, Running, World, task, until},
    beside_honest,
};

const SCRIPT: &str = include_str!("../harness/evil_trees.py");
/// What such a result may add to the node's memory, in KiB.
const GROWTH_MAX: u64 = 50 << 10;
/// Helpers that make diffs, and one that judges.
const HELPERS_MAX: usize = 4 + 1;

/// An agent that plants a tree of this shape on its branch, on top of its work.
fn plants(shape: &str, number: u32, then: &str) -> String {
    format!(
        "echo work > work && git add work && git commit -qm work && cat > \"$TMPDIR/evil.py\" <<'PY'\n{SCRIPT}\nPY\n\
         python3 \"$TMPDIR/evil.py\" {shape} {number} HEAD || exit 41; {then}"
    )
}

/// A line of `/proc/<pid>/status`, in KiB.
fn memory(node: &Running, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap_or_default();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_default();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap_or_default()
}

/// The children of a process that are helpers.
fn helpers(node: &Running) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let is_helper = |pid: &i32| {
        let parent = format!("PPid:\t{}\n", node.pid());
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(b"\0git-worker\0")
            && fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default().contains(&parent)
    };
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_helper).collect()
}

#[test]
fn deep_trees_and_bombs_end_in_words_and_the_node_goes_on() {
    let world = World::with_repository();
    world.write("a.txt", "a file\n");
    world.commit_all("a file");
    let evil = [("DEEP", "deep", 22_000), ("BOMB", "bomb", 9), ("WIDE", "wide", 12)];
    let tasks = evil.iter().map(|(id, shape, number)| task(id, &plants(shape, *number, "exit 0")).after(&["WARM"]));
    let fine = [("LEVELS", "deep", 90), ("PATHS", "bomb", 3)];
    let fine_tasks = fine
        .iter()
        .map(|(id, shape, number)| task(id, &plants(shape, *number, "git reset -q --hard HEAD")).after(&["WARM"]));
    let honest = ["WARM", "AFTER"].map(|id| task(id, &format!("echo {id} > {id}")));
    let [warm, after] = honest;
    let last = task("GATE", &format!("{}echo gate > gate", world.wait_at("go"))).after(&["WARM"]);
    let after = after.after(&["GATE"]);
    world.plan(&Plan::new([warm, last, after].into_iter().chain(tasks).chain(fine_tasks)));
    let world = world.unsandboxed();
    let node = world.start();
    until("the first is done", || world.is_status("WARM", "COMPLETED"));
    let before = memory(&node, "VmHWM");
    for (id, ..) in evil {
        until("it is refused", || world.is_status(id, "BLOCKED"));
    }
    let grown = memory(&node, "VmHWM") - before;
    for (id, ..) in fine {
        until("it is merged", || world.is_status(id, "COMPLETED"));
    }
    world.open_gate("go");
    // The same process to the end, and then it waits for people.
    assert_eq!(node.wait().code, 7);
    assert!(grown < GROWTH_MAX, "{grown} KiB more");
    for (id, word) in [("DEEP", "levels deep"), ("BOMB", "paths"), ("WIDE", "paths")] {
        assert_eq!(world.blocked_reason(id), "policy", "{id}");
        world.devstack(&["task", "show", id]).expect(0).says(word);
    }
    assert_eq!(world.status("AFTER"), "COMPLETED");
    world.hub_is_whole();
    // Nor does it end the next process that looks at the same project.
    assert_eq!(world.run().code, 7);
}

/// The same agents where they are confined; what their results cost the node is looked at above.
#[test]
fn deep_trees_and_bombs_are_refused_wherever_they_were_made() {
    let evil = |shape, number: u32| move |_: &World| task("EVIL", &plants(shape, number, "exit 0"));
    for (shape, number, word) in [("deep", 22_000, "levels deep"), ("bomb", 9, "paths")] {
        beside_honest(evil(shape, number), as_it_is, |world| {
            assert_eq!(world.blocked_reason("EVIL"), "policy");
            world.devstack(&["task", "show", "EVIL"]).expect(0).says(word);
        });
    }
}

#[test]
fn a_helper_that_is_killed_in_the_middle_of_a_result_costs_nobody_anything() {
    let world = World::with_repository().unsandboxed();
    let gate = format!("{}echo b > b", world.wait_at("go"));
    world.plan(&Plan::new([task("A", "echo a > a"), task("B", &gate).after(&["A"])]));
    let node = world.start();
    until("the first is done", || world.is_status("A", "COMPLETED"));
    world.until_there("go");
    let warm = helpers(&node);
    assert!(!warm.is_empty(), "it is kept");
    for pid in &warm {
        kill(Pid::from_raw(*pid), Signal::SIGSTOP).unwrap();
    }
    world.open_gate("go");
    let scratch = world.hub().join("scratch");
    let judged = || fs::read_dir(&scratch).into_iter().flatten().flatten().any(|dir| has_pack(&dir.path()));
    until("the result waits for the helper", judged);
    for pid in warm {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    assert_eq!(node.wait().code, 0);
    assert_eq!(world.outcomes("B"), ["done"], "one attempt, and it counts");
}

/// Was a pack indexed here?
fn has_pack(scratch: &std::path::Path) -> bool {
    let packs = fs::read_dir(scratch.join("objects/pack")).into_iter().flatten().flatten();
    packs.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|extension| extension == "idx"))
}

/// One request on the node's socket; its answer's first line.
fn get(world: &World, path: &str) -> String {
    let mut socket = UnixStream::connect(world.dir().join(".devstack/api.sock")).expect("it listens");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn many_who_look_at_large_changes_leave_room_for_others() {
    let world = World::with_repository().unsandboxed();
    // Six changes of 8 MiB each.
    let big = |n: u32| format!("for i in $(seq 1 150); do yes \"line $i of {n}\" | head -n 4500 > f$i; done");
    let ids: Vec<String> = (1..=6).map(|n| format!("BIG{n}")).collect();
    let tasks = ids.iter().zip(1..).map(|(id, n)| task(id, &format!("mkdir d{n}; cd d{n}; {}", big(n))));
    let gate = task("GATE", &format!("{}echo gate > gate", world.wait_at("go"))).after(&["BIG6"]);
    world.plan(&Plan::new(tasks.chain([gate])));
    let node = world.start();
    for id in &ids {
        until("it is done", || world.is_status(id, "COMPLETED"));
    }
    let over = AtomicBool::new(false);
    let (mut seen, mut waits) = (HashSet::new(), Vec::new());
    std::thread::scope(|scope| {
        let lookers: Vec<_> = (0..64)
            .map(|n| {
                let path = format!("/v1/tasks/shop/{}/diff", ids[n % ids.len()]);
                let world = &world;
                scope.spawn(move || get(world, &path))
            })
            .collect();
        let others = scope.spawn(|| {
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                assert_eq!(get(&world, "/v1/status"), "HTTP/1.1 200 OK");
                waits.push(asked.elapsed());
            }
            waits
        });
        while !lookers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            seen.insert(helpers(&node).len());
            std::thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
        for looker in lookers {
            assert_eq!(looker.join().unwrap(), "HTTP/1.1 200 OK");
        }
        waits = others.join().unwrap();
    });
    waits.sort_unstable();
    let (most, slowest) = (seen.into_iter().max().unwrap_or_default(), waits[waits.len() * 99 / 100]);
    println!("{} others, 99 of 100 within {slowest:?}; at most {most} helpers", waits.len());
    assert!((1..=HELPERS_MAX).contains(&most), "{most} helpers");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}"); // on a machine that does much else
    world.open_gate("go");
    node.wait();
}
